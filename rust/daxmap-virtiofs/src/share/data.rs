//! Reading and writing files: from and to the guest's memory, with one copy, which is the kernel's.

use super::{Share, errno};
use crate::sys::guest::{GuestSlice, read_at, write_at};
use rustix::fd::AsFd;
use rustix::fs::{FallocateFlags, SeekFrom, fallocate, fdatasync, fsync, seek};
use std::io;
use std::sync::PoisonError;

/// `struct fuse_read_in`, as far as it matters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Read {
    pub(crate) nodeid: u64,
    pub(crate) fh: u64,
    pub(crate) offset: u64,
}

/// `struct fuse_write_in`, as far as it matters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Write {
    pub(crate) nodeid: u64,
    pub(crate) fh: u64,
    pub(crate) offset: u64,
    /// Whether the guest's file is open to append: then its end is the host's.
    pub(crate) append: bool,
}

impl Share {
    /// Fills the buffers from a file; how many bytes there were.
    pub(crate) fn read(&self, what: &Read, into: &[GuestSlice<'_>]) -> io::Result<usize> {
        let handle = self.handles.get(what.nodeid, what.fh)?;
        read_at(handle.file.as_fd(), into, what.offset)
    }

    /// Writes the buffers to a file; how many bytes were written.
    pub(crate) fn write(&self, what: &Write, from: &[GuestSlice<'_>]) -> io::Result<usize> {
        let handle = self.handles.get(what.nodeid, what.fh)?;
        write_at(handle.file.as_fd(), from, what.offset, what.append)
    }

    pub(super) fn sync(&self, nodeid: u64, fh: u64, data_only: bool) -> io::Result<()> {
        let handle = self.handles.get(nodeid, fh)?;
        if data_only { fdatasync(&handle.file) } else { fsync(&handle.file) }.map_err(io::Error::from)
    }

    pub(super) fn allocate(&self, nodeid: u64, fh: u64, mode: u32, offset: u64, length: u64) -> io::Result<()> {
        self.check_writable()?;
        let handle = self.handles.get(nodeid, fh)?;
        let mode = FallocateFlags::from_bits(mode).ok_or_else(|| errno(libc::EOPNOTSUPP))?;
        Ok(fallocate(&handle.file, mode, offset, length)?)
    }

    /// The next data, or the next hole: the guest's kernel does the other kinds itself.
    pub(super) fn seek(&self, nodeid: u64, fh: u64, offset: u64, whence: u32) -> io::Result<u64> {
        let handle = self.handles.get(nodeid, fh)?;
        let _held = handle.position.lock().unwrap_or_else(PoisonError::into_inner);
        let to = match whence.cast_signed() {
            libc::SEEK_DATA => SeekFrom::Data(offset),
            libc::SEEK_HOLE => SeekFrom::Hole(offset),
            _ => return Err(errno(libc::EINVAL)),
        };
        Ok(seek(&handle.file, to)?)
    }
}
