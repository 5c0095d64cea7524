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
use daxmap_core::{Errno, Mapper, OpenError};
use handles::Handles;
use nodes::{Nodes, PathFd};
use paths::{Attributes, ProcSelfFd};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, fstatfs, openat};
use rustix::process::{Resource, getrlimit};
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;
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
    mapped: Mutex<Recent<(u64, bool), Arc<OwnedFd>>>,
    on_overlayfs: bool,
    /// Whether the guest keeps pages of files in its own memory: not where it maps all of them.
    guest_has_pages: AtomicBool,
}

impl Share {
    /// # Errors
    /// [`OpenError::Invalid`] for a `max_open` that is too small, [`OpenError::Refused`] where the host refuses.
    pub(crate) fn open(directory: &Path, mapper: Option<Arc<Mapper>>, options: Options) -> Result<Self, OpenError> {
        let most = options.max_open.unwrap_or_else(|| getrlimit(Resource::Nofile).current.unwrap_or(MANY_OPEN) / 2);
        let part = |parts: u64| usize::try_from(most.checked_div(parts).unwrap_or(0)).unwrap_or(usize::MAX);
        if most < LEAST_OPEN {
            return Err(OpenError::Invalid(format!(
                "max_open is {most}; a server needs {LEAST_OPEN} descriptors or more"
            )));
        }
        let proc = ProcSelfFd::open().map_err(|error| refused("opening /proc/self/fd", &error))?;
        let (root, kind) = open_root(&proc, directory)
            .map_err(|error| refused(&format!("directory {}", directory.display()), &error))?;
        let creator = Creator::start(options.owner).map_err(|error| {
            refused("starting the thread that makes files; owner=guest needs the right to act as other users", &error)
        })?;
        let on_overlayfs = kind == OVERLAYFS;
        Ok(Self {
            options,
            mapper,
            nodes: Nodes::new(root, part(4), timeout(options.cache)),
            handles: Handles::new(part(2)),
            creator,
            proc,
            mapped: Mutex::new(Recent::new(part(4))),
            on_overlayfs,
            guest_has_pages: AtomicBool::new(true),
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

    /// `FUSE_ATTR_DAX` for a file that the guest is to map, else 0.
    fn attr_flags(&self, attributes: &Attributes) -> u32 {
        if self.mapper.is_none() { 0 } else { self.options.dax.attr_flags(attributes.mode(), attributes.size()) }
    }
}

/// The exported directory as a mere path, and the type of its file system: `f_type` of fstatfs(2).
fn open_root(proc: &ProcSelfFd, directory: &Path) -> io::Result<(PathFd, u64)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = Arc::new(openat(CWD, directory, flags, Mode::empty())?);
    proc.reopen(root.as_raw_fd(), OFlags::RDONLY | OFlags::DIRECTORY)?; // may it be read at all?
    let kind = u64::try_from(fstatfs(&root)?.f_type).unwrap_or(0);
    Ok((root, kind))
}

/// How long names and attributes may be believed: by a guest, and by the server itself.
fn timeout(cache: Cache) -> Duration {
    match cache {
        Cache::Never => Duration::ZERO,
        Cache::Auto => Duration::from_secs(1),
        Cache::Always => Duration::from_secs(24 * 60 * 60),
    }
}

fn refused(what: &str, error: &io::Error) -> OpenError {
    OpenError::refused(what.to_owned(), Errno(error.raw_os_error().unwrap_or(libc::EIO)))
}

fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}
