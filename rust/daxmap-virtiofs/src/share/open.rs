//! Opening and closing files and directories.

use super::handles::Handle;
use super::nodes::PathFd;
use super::paths::Attributes;
use super::{Share, errno};
use crate::options::Cache;
use crate::sys;
use fuse_backend_rs::api::filesystem::OpenOptions;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags, fchmod};
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

/// What of a guest's open(2) flags is left, beside the access mode: the others are the guest's own affair, or would have
/// the host do what the guest may not.
const PASSED_ON: u32 = libc::O_TRUNC.cast_unsigned() | libc::O_SYNC.cast_unsigned() | libc::O_DSYNC.cast_unsigned();
const ACCESS: u32 = libc::O_ACCMODE.cast_unsigned();
const READ_ONLY: u32 = libc::O_RDONLY.cast_unsigned();
const WRITE_ONLY: u32 = libc::O_WRONLY.cast_unsigned();
const READ_WRITE: u32 = libc::O_RDWR.cast_unsigned();
const TRUNCATE: u32 = libc::O_TRUNC.cast_unsigned();

/// What a guest asked to open a file for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    pub(super) flags: OFlags,
    /// Whether it changes the file, or lets the guest.
    pub(super) writes: bool,
    /// Whether the descriptor can be written to: not, if the file is only emptied.
    pub(super) writable: bool,
}

impl Access {
    pub(super) fn of(flags: u32) -> io::Result<Self> {
        let mode = flags & ACCESS;
        let writable = match mode {
            READ_ONLY => false,
            WRITE_ONLY | READ_WRITE => true,
            _ => return Err(errno(libc::EINVAL)),
        };
        let writes = writable || flags & TRUNCATE != 0;
        Ok(Self { flags: OFlags::from_bits_retain(mode | flags & PASSED_ON), writes, writable })
    }
}

impl Share {
    pub(super) fn open_file(&self, nodeid: u64, flags: u32) -> io::Result<(u64, OpenOptions)> {
        let access = Access::of(flags)?;
        if access.writes {
            self.check_writable()?;
        }
        self.handles.check_room()?;
        let path = self.nodes.regular(nodeid)?;
        let file = if access.writes {
            self.open_for_writing(nodeid, &path, access.flags)?
        } else {
            self.open_for_reading(&path, access.flags)?
        };
        let fh = self.handles.put(Handle::new(nodeid, file, access.writable))?;
        Ok((fh, self.how_opened()))
    }

    pub(super) fn open_directory(&self, nodeid: u64) -> io::Result<(u64, OpenOptions)> {
        self.handles.check_room()?;
        let path = self.nodes.directory(nodeid)?;
        let file = self.open_for_reading(&path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let fh = self.handles.put(Handle::new(nodeid, file, false))?;
        let cached = OpenOptions::KEEP_CACHE | OpenOptions::CACHE_DIR;
        Ok((fh, if self.options.cache == Cache::Always { cached } else { OpenOptions::empty() }))
    }

    /// Notes whether a guest that has just started keeps pages of files in its own memory.
    pub(crate) fn set_guest_has_pages(&self, has_pages: bool) {
        self.guest_has_pages.store(has_pages, Ordering::Relaxed);
    }

    /// How the guest is to treat the pages of a file that it has opened. One that has none of its own keeps what it has mapped:
    /// Linux would take that out of all page tables, and 7.3 counts its uses wrong when it does (`dax_disassociate_entry`, fs/dax.c).
    pub(super) fn how_opened(&self) -> OpenOptions {
        match self.options.cache {
            Cache::Never => OpenOptions::DIRECT_IO,
            Cache::Auto if !self.guest_has_pages.load(Ordering::Relaxed) => OpenOptions::KEEP_CACHE,
            Cache::Auto => OpenOptions::empty(),
            Cache::Always => OpenOptions::KEEP_CACHE,
        }
    }

    /// On a read-only share even the time of the last reading is left as it is, where the server has the right to.
    pub(super) fn open_for_reading(&self, path: &PathFd, flags: OFlags) -> io::Result<OwnedFd> {
        if self.options.readonly
            && let Ok(file) = self.proc.reopen(path.as_raw_fd(), flags | OFlags::NOATIME)
        {
            return Ok(file);
        }
        self.proc.reopen(path.as_raw_fd(), flags)
    }

    pub(super) fn open_for_writing(&self, nodeid: u64, path: &PathFd, flags: OFlags) -> io::Result<OwnedFd> {
        let file = self.proc.reopen(path.as_raw_fd(), flags)?;
        self.drop_privileges(&file)?;
        self.changed(nodeid, path);
        Ok(file)
    }

    /// Where all files are the server's own, what a guest may write must not run as the server. The kernel sees to that
    /// only when others than root write, and never for mappings.
    pub(super) fn drop_privileges(&self, file: &OwnedFd) -> io::Result<()> {
        let attributes = Attributes::of(file)?;
        let mode = attributes.mode() & 0o7777;
        let allowed = self.allowed_mode(mode, attributes.kind());
        if allowed == mode { Ok(()) } else { Ok(fchmod(file, Mode::from_raw_mode(allowed))?) }
    }

    /// FLUSH: what close(2) of a duplicate says, which on some file systems is where data is written, or lost.
    pub(super) fn flush_file(&self, nodeid: u64, fh: u64) -> io::Result<()> {
        let handle = self.handles.get(nodeid, fh)?;
        if handle.writable { sys::close(handle.file.as_fd().try_clone_to_owned()?) } else { Ok(()) }
    }
}
