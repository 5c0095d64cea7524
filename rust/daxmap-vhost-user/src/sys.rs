//! The one module with `unsafe` code: buffers in a guest's memory, and descriptors that a crate has let go of.
#![allow(unsafe_code)]

use daxmap_virtiofs::GuestSlice;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

/// Adds the buffers of `length` bytes of the guest's memory at `start`. False where a part of that is no memory.
pub(crate) fn buffers<'a>(
    memory: &'a GuestMemoryMmap,
    start: GuestAddress,
    length: usize,
    into: &mut Vec<GuestSlice<'a>>,
) -> bool {
    for slice in GuestMemoryBackend::get_slices(memory, start, length) {
        let Ok(slice) = slice else { return false };
        // SAFETY: the slice lies in a mapping of `memory`, readable and writable, which lives for 'a. Rust code has no
        // references to a guest's memory: vm-memory goes by pointers, as all that takes a GuestSlice does.
        into.push(unsafe { GuestSlice::from_raw(slice.ptr_guard_mut().as_ptr(), slice.len()) });
    }
    true
}

/// Copies between the guest's memory and ours by system call: a page that is not there, of a file that was cut, is EFAULT and
/// no signal.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    FromGuest,
    ToGuest,
}

/// Copies all of `bytes` from, or to, the guest's memory at `start`.
pub(crate) fn copy(memory: &GuestMemoryMmap, start: GuestAddress, bytes: &mut [u8], way: Way) -> io::Result<()> {
    let mut rest = bytes;
    for slice in GuestMemoryBackend::get_slices(memory, start, rest.len()) {
        let slice = slice.map_err(|_| io::Error::from_raw_os_error(libc::EFAULT))?;
        let (now, later) = rest.split_at_mut(slice.len().min(rest.len()));
        rest = later;
        let ours = libc::iovec { iov_base: now.as_mut_ptr().cast(), iov_len: now.len() };
        let theirs = libc::iovec { iov_base: slice.ptr_guard_mut().as_ptr().cast(), iov_len: now.len() };
        let pid = libc::pid_t::try_from(std::process::id()).map_err(|_| io::Error::from_raw_os_error(libc::EPERM))?;
        let copied = match way {
            // SAFETY: `ours` is all of `now`, which nobody else has; the kernel checks the other side, and it is in a
            // mapping of `memory`.
            Way::FromGuest => unsafe { libc::process_vm_readv(pid, &raw const ours, 1, &raw const theirs, 1, 0) },
            // SAFETY: as above. What is written is a guest's memory, to which no Rust reference exists.
            Way::ToGuest => unsafe { libc::process_vm_writev(pid, &raw const ours, 1, &raw const theirs, 1, 0) },
        };
        if usize::try_from(copied) != Ok(now.len()) {
            return Err(io::Error::from_raw_os_error(libc::EFAULT));
        }
    }
    Ok(())
}

/// The descriptor of this number, which its owner has let go of without closing it.
///
/// The caller vouches for that: vhost-user-backend takes the number of an exit event out of its owner, gives it to epoll, and
/// forgets it.
pub(crate) fn abandoned(fd: RawFd) -> OwnedFd {
    // SAFETY: the one caller has the numbers of exit events whose event loops have ended, each once. Nobody owns them.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
