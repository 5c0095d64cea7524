//! Copies that answer EFAULT where a plain load or store would be a signal: `process_vm_readv(2)` on oneself.

use super::Errno;
use std::ffi::c_void;

type Transfer = unsafe extern "C" fn(
    libc::pid_t,
    *const libc::iovec,
    libc::c_ulong,
    *const libc::iovec,
    libc::c_ulong,
    libc::c_ulong,
) -> isize;

/// Fills `buffer` from `address`.
pub(super) fn read(address: usize, buffer: &mut [u8]) -> Result<(), Errno> {
    // SAFETY: the kernel writes to `buffer` alone, which is borrowed exclusively and `length` bytes long; it checks
    // `address` page by page, and answers EFAULT.
    unsafe { transfer(libc::process_vm_readv, buffer.as_mut_ptr().cast(), address, buffer.len()) }
}

/// Stores `data` at `address`.
///
/// # Safety
/// Nothing that Rust knows of may lie in `[address, address + data.len())`.
pub(super) unsafe fn write(address: usize, data: &[u8]) -> Result<(), Errno> {
    // SAFETY: the kernel only reads from `data`; what is stored to is the caller's to promise.
    unsafe { transfer(libc::process_vm_writev, data.as_ptr().cast_mut().cast(), address, data.len()) }
}

/// Repeats a transfer until all is done: the kernel moves at most 2 GiB a call, and stops early at a fault.
///
/// # Safety
/// `local` is valid for `length` bytes in the direction of `call`; so is `remote`, or the kernel finds it invalid.
unsafe fn transfer(call: Transfer, local: *mut c_void, remote: usize, length: usize) -> Result<(), Errno> {
    // SAFETY: getpid has no precondition.
    let oneself = unsafe { libc::getpid() };
    let mut done = 0;
    while done < length {
        let left = length.saturating_sub(done);
        let here = libc::iovec { iov_base: local.wrapping_byte_add(done), iov_len: left };
        let there = libc::iovec { iov_base: remote.wrapping_add(done) as *mut c_void, iov_len: left };
        // SAFETY: as promised by the caller, for a part of the same ranges.
        let moved = unsafe { call(oneself, &raw const here, 1, &raw const there, 1, 0) };
        match usize::try_from(moved) {
            Ok(0) => return Err(Errno(libc::EFAULT)),
            Ok(bytes) => done = done.saturating_add(bytes),
            Err(_) => return Err(Errno::last()),
        }
    }
    Ok(())
}
