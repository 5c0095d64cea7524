//! One exported directory: the inodes and open files that a guest has, and what it may do with them.

mod attributes;
mod create;
mod creator;
mod data;
mod directory;
mod fs;
mod handles;
mod mappable;
mod nodes;
mod open;
mod paths;
mod xattr;

pub(crate) use data::{Read, Write};
pub(crate) use nodes::ROOT;

use crate::options::{Cache, Options};
use crate::recent::Recent;
use creator::Creator;
use daxmap_core::Mapper;
use handles::Handles;
use nodes::Nodes;
use paths::{Attributes, ProcSelfFd};
use rustix::fd::AsRawFd;
use rustix::fs::{Mode, OFlags, fstatfs, openat};
use rustix::process::{Resource, getrlimit};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The least number of descriptors that a server can work with.
const LEAST_OPEN: u64 = 64;
/// What is taken where the process may have any number.
const MANY_OPEN: u64 = 1 << 20;
/// `f_type` of overlayfs (`OVERLAYFS_SUPER_MAGIC`).
const OVERLAYFS: u64 = 0x794c_7630;

/// One exported directory.
#[derive(Debug)]
pub(crate) struct Share {
    options: Options,
    mapper: Option<Arc<Mapper>>,
    nodes: Nodes,
    handles: Handles,
    creator: Creator,
    proc: ProcSelfFd,
    /// Descriptors of files that are mapped, by inode and whether they are writable.
    mapped: Mutex<Recent<(u64, bool)>>,
    /// The sizes with which files were mapped, if their mappings end where they did.
    sizes: mappable::Sizes,
    on_overlayfs: bool,
}

impl Share {
    /// # Errors
    /// Those of opening `directory`; EINVAL for a `max_open` that is too small; EPERM for [`Owner::Guest`] without the right
    /// to act as others; ENOSYS before Linux 5.6.
    ///
    /// [`Owner::Guest`]: crate::Owner::Guest
    pub(crate) fn open(directory: &Path, mapper: Option<Arc<Mapper>>, options: Options) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = Arc::new(openat(rustix::fs::CWD, directory, flags, Mode::empty())?);
        let proc = ProcSelfFd::open()?;
        proc.reopen(root.as_raw_fd(), OFlags::RDONLY | OFlags::DIRECTORY)?; // may it be read at all?
        let most = options.max_open.unwrap_or_else(|| getrlimit(Resource::Nofile).current.unwrap_or(MANY_OPEN) / 2);
        let part = |parts: u64| usize::try_from(most.checked_div(parts).unwrap_or(0)).unwrap_or(usize::MAX);
        if most < LEAST_OPEN {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let on_overlayfs = u64::try_from(fstatfs(&root)?.f_type) == Ok(OVERLAYFS);
        Ok(Self {
            options,
            mapper,
            nodes: Nodes::new(root, !on_overlayfs, part(4)),
            handles: Handles::new(part(2)),
            creator: Creator::start(options.owner)?,
            proc,
            mapped: Mutex::new(Recent::new(part(4))),
            sizes: mappable::Sizes::default(),
            on_overlayfs,
        })
    }

    /// Why files are made with the process's umask, if they are.
    pub(crate) fn shares_umask(&self) -> Option<&io::Error> {
        self.creator.shares_umask.as_ref()
    }

    /// How many inodes the guest knows, without the root.
    pub(crate) fn known_inodes(&self) -> usize {
        self.nodes.len()
    }

    /// Forgets all that the guest knew and had open.
    pub(crate) fn forget_all(&self) {
        self.handles.clear();
        self.nodes.clear();
        self.forget_mapped();
    }

    /// EROFS on a read-only share.
    fn check_writable(&self) -> io::Result<()> {
        if self.options.readonly { Err(errno(libc::EROFS)) } else { Ok(()) }
    }

    /// How long a guest may believe names and attributes.
    fn timeout(&self) -> Duration {
        match self.options.cache {
            Cache::Never => Duration::ZERO,
            Cache::Auto => Duration::from_secs(1),
            Cache::Always => Duration::from_secs(24 * 60 * 60),
        }
    }

    /// `FUSE_ATTR_DAX` for a file that the guest is to map, else 0.
    fn attr_flags(&self, attributes: &Attributes) -> u32 {
        if self.mapper.is_none() { 0 } else { self.options.dax.attr_flags(attributes.mode(), attributes.size()) }
    }
}

fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}
