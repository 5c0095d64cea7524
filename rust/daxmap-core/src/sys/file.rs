//! What a file descriptor is of.

use super::Errno;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Identity of a file while it is in use: `st_dev` and `st_ino` of `fstat(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    /// Device that holds the file.
    pub dev: u64,
    /// Inode number on that device.
    pub ino: u64,
}

/// What [`identify`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identified {
    Regular(FileId),
    Other(&'static str),
}

/// `fstat(2)`: which file `fd` is of.
pub(crate) fn identify(fd: RawFd) -> Result<Identified, Errno> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the kernel checks `fd`, and writes at most a `struct stat` to the pointer, which is of one.
    let answer = unsafe { libc::fstat(fd, stat.as_mut_ptr()) };
    if answer != 0 {
        return Err(Errno::last());
    }
    // SAFETY: fstat returned 0, so it filled the struct.
    let stat = unsafe { stat.assume_init() };
    Ok(match stat.st_mode & libc::S_IFMT {
        libc::S_IFREG => Identified::Regular(FileId { dev: device_number(stat.st_dev), ino: stat.st_ino }),
        libc::S_IFDIR => Identified::Other("a directory"),
        libc::S_IFIFO => Identified::Other("a FIFO"),
        libc::S_IFSOCK => Identified::Other("a socket"),
        libc::S_IFCHR => Identified::Other("a character device"),
        libc::S_IFBLK => Identified::Other("a block device"),
        libc::S_IFLNK => Identified::Other("a symbolic link"),
        _ => Identified::Other("a file of no known type"),
    })
}

/// `st_dev` is a 64-bit number on Linux and a signed 32-bit one on macOS; what counts is that it keeps its bits.
#[allow(clippy::cast_sign_loss, clippy::unnecessary_cast)]
fn device_number(dev: libc::dev_t) -> u64 {
    dev as u64
}

/// Whether `fd` is open for both reading and writing. False where it can't be told.
pub(crate) fn is_read_write(fd: RawFd) -> bool {
    access_mode(fd) == Some(libc::O_RDWR)
}

/// Whether `fd` is open for too little to be mapped: `mmap(2)` then says EACCES before it touches anything.
#[must_use]
pub fn lacks_access(fd: RawFd, writable: bool) -> bool {
    let mode = access_mode(fd);
    mode == Some(libc::O_WRONLY) || (writable && mode == Some(libc::O_RDONLY))
}

/// TEMPORARY until sys lands
#[cfg(target_os = "linux")]
pub(crate) fn is_on_fuse(_fd: RawFd) -> bool {
    false
}

/// `O_RDONLY`, `O_WRONLY` or `O_RDWR`: `F_GETFL` of `fcntl(2)`.
fn access_mode(fd: RawFd) -> Option<i32> {
    // SAFETY: the kernel checks `fd`; no memory is involved.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    (flags >= 0).then_some(flags & libc::O_ACCMODE)
}

/// A descriptor of one's own of the same open file: `F_DUPFD_CLOEXEC` of `fcntl(2)`.
pub(crate) fn duplicate(fd: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: the kernel checks the descriptor; no memory is involved.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) };
    if copy < 0 {
        return Err(Errno::last());
    }
    // SAFETY: fcntl has just made the descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}
