//! System calls that no crate has a safe function for: the only `unsafe` code.
#![allow(unsafe_code)]

pub(crate) mod guest;

use rustix::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::io;
use std::mem::MaybeUninit;

/// Gives the calling thread a umask, and a working directory, of its own: `unshare(2)` with `CLONE_FS`.
pub(crate) fn unshare_fs() -> io::Result<()> {
    // SAFETY: no memory is involved; what the thread stops sharing is its umask, root and working directory.
    answer(unsafe { libc::unshare(libc::CLONE_FS) })
}

/// `fstatvfs(3)`.
pub(crate) fn statvfs(file: BorrowedFd<'_>) -> io::Result<libc::statvfs64> {
    let mut found = MaybeUninit::zeroed();
    // SAFETY: the call writes at most a `struct statvfs64` to the pointer, which is of one.
    answer(unsafe { libc::fstatvfs64(file.as_raw_fd(), found.as_mut_ptr()) })?;
    // SAFETY: the call succeeded, so it filled the struct; and all its bits may be zero.
    Ok(unsafe { found.assume_init() })
}

/// `close(2)`, with what it says: on NFS, and over a quota, that data is lost.
pub(crate) fn close(file: OwnedFd) -> io::Result<()> {
    // SAFETY: the descriptor was owned, and is used by nobody any more.
    answer(unsafe { libc::close(file.into_raw_fd()) })
}

fn answer(answer: libc::c_int) -> io::Result<()> {
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
