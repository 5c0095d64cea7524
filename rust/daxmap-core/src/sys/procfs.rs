//! What is kept open of `/proc/self`, from before it is needed: by then a VMM may live in a chroot without `/proc`, or have
//! no descriptor left.
//!
//! Kept are the directory itself, open as a mere path (`O_PATH`), and its file `maps`. Not `mem`: a descriptor of that is
//! access to all memory, and a child that the VMM forks, and takes rights from, would inherit it.

use super::{Errno, ForkGuard};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering::AcqRel, Ordering::Acquire};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// `/proc/self` of one process: descriptors of it that a forked child inherits are of its parent still.
#[derive(Debug)]
pub(super) struct ProcSelf {
    guard: ForkGuard,
    directory: OwnedFd,
    maps: File,
    /// Held while `maps` is read, which has one file offset for all.
    reader: Mutex<()>,
}

/// What was kept last: null, or a box that was leaked.
static KEPT: AtomicPtr<ProcSelf> = AtomicPtr::new(ptr::null_mut());

/// Sees to it that `/proc/self` is there when it is needed, from now on.
///
/// # Errors
/// That of `open(2)`.
pub fn keep_proc_self() -> Result<(), Errno> {
    proc_self().map(drop)
}

/// What a descriptor of this process is of, opened once more with flags of `open(2)`; close-on-exec.
pub(crate) fn open_descriptor(fd: RawFd, flags: libc::c_int) -> Result<OwnedFd, Errno> {
    let name = CString::new(format!("fd/{fd}")).map_err(|_| Errno(libc::EINVAL))?;
    proc_self()?.open_file(&name, flags)
}

/// This process's own, opened now if it is not yet.
pub(super) fn proc_self() -> Result<&'static ProcSelf, Errno> {
    let current = KEPT.load(Acquire);
    // SAFETY: null, or a box that was leaked, and so lives as long as the process.
    if let Some(kept) = unsafe { current.as_ref() }
        && !kept.guard.is_child()
    {
        return Ok(kept);
    }
    let fresh: &'static mut ProcSelf = Box::leak(Box::new(ProcSelf::open()?));
    // Where another thread was quicker there are two for good, which does no harm. A parent's stays open in the child.
    let _ = KEPT.compare_exchange(current, fresh, AcqRel, Acquire);
    Ok(fresh)
}

impl ProcSelf {
    fn open() -> Result<Self, Errno> {
        let guard = ForkGuard::new()?;
        let directory = open_at(libc::AT_FDCWD, c"/proc/self", libc::O_PATH | libc::O_DIRECTORY)?;
        let maps = open_at(directory.as_raw_fd(), c"maps", libc::O_RDONLY)?.into();
        Ok(Self { guard, directory, maps, reader: Mutex::new(()) })
    }

    /// A file of the directory, by its name and flags of `open(2)`.
    pub(super) fn open_file(&self, name: &CStr, flags: libc::c_int) -> Result<OwnedFd, Errno> {
        open_at(self.directory.as_raw_fd(), name, flags)
    }

    /// Where a symbolic link of the directory leads to, if that is a path of less than `PATH_MAX` bytes.
    pub(super) fn read_link(&self, name: &CStr) -> Result<CString, Errno> {
        let mut path = vec![0; libc::PATH_MAX.unsigned_abs() as usize];
        let directory = self.directory.as_raw_fd();
        // SAFETY: `name` ends with a NUL, and the kernel writes at most as many bytes as `path` has.
        let length = unsafe { libc::readlinkat(directory, name.as_ptr(), path.as_mut_ptr().cast(), path.len()) };
        path.truncate(usize::try_from(length).map_err(|_| Errno::last())?);
        CString::new(path).map_err(|_| Errno(libc::EINVAL))
    }

    /// `maps`, for asking it by `ioctl(2)`.
    pub(super) fn maps(&self) -> impl AsFd {
        &self.maps
    }

    /// `maps`, for reading it while the guard is held.
    pub(super) fn maps_for_reading(&self) -> (MutexGuard<'_, ()>, &File) {
        (self.reader.lock().unwrap_or_else(PoisonError::into_inner), &self.maps)
    }
}

/// `openat(2)`, close-on-exec.
fn open_at(directory: RawFd, name: &CStr, flags: libc::c_int) -> Result<OwnedFd, Errno> {
    // SAFETY: `name` ends with a NUL; the kernel checks the rest.
    let fd = unsafe { libc::openat(directory, name.as_ptr(), flags | libc::O_CLOEXEC) };
    if fd < 0 {
        return Err(Errno::last());
    }
    // SAFETY: openat has just made the descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::access_refusal;

    #[test]
    fn the_directory_is_kept_as_a_mere_path() {
        keep_proc_self().unwrap();
        let directory = proc_self().unwrap().directory.as_raw_fd();
        assert_eq!(access_refusal(directory, false), Some(Errno(libc::EBADF)), "no O_PATH");
        assert_eq!(open_descriptor(-1, libc::O_RDONLY).unwrap_err(), Errno(libc::ENOENT));
    }
}
