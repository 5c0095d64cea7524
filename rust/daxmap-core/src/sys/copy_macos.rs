//! Copies that answer EFAULT where a plain load or store would be a signal: `mach_vm_read_overwrite` on oneself.

use super::Errno;
use libc::{c_int, mach_port_t};

/// What is asked to make a copy, for the message if it refuses.
pub(crate) const READ_CALL: &str = "mach_vm_read_overwrite";
pub(crate) const WRITE_CALL: &str = "mach_vm_write";

/// `KERN_SUCCESS` of `mach/kern_return.h`.
const KERN_SUCCESS: c_int = 0;
/// The most that one call moves. Of so little the kernel makes a plain copy, and finds out at once what can't be read
/// (`vm_map_copyin` of xnu, below its `msg_ool_size_small`). Whole pages it may share with the source instead: those past
/// the end of a file would be a SIGBUS later, when the copy is looked at.
const MAX_PIECE: usize = 4096;

// Of `mach/mach_vm.h` and `mach/mach_init.h`, in libSystem.
unsafe extern "C" {
    static mach_task_self_: mach_port_t;
    fn mach_vm_read_overwrite(task: mach_port_t, from: u64, size: u64, to: u64, copied: *mut u64) -> c_int;
    fn mach_vm_write(task: mach_port_t, to: u64, from: usize, count: u32) -> c_int;
}

/// Fills `buffer` from `address`.
pub(super) fn read(address: usize, buffer: &mut [u8]) -> Result<(), Errno> {
    // SAFETY: the task's own port, set before main and never changed.
    let task = unsafe { mach_task_self_ };
    let mut from = address as u64;
    for piece in buffer.chunks_mut(MAX_PIECE) {
        let (to, size) = (piece.as_mut_ptr().addr() as u64, piece.len() as u64);
        let mut copied = 0;
        // SAFETY: the kernel writes to `piece` alone, which is borrowed exclusively and `size` bytes long, and to
        // `copied`; it checks `from`.
        check(unsafe { mach_vm_read_overwrite(task, from, size, to, &raw mut copied) })?;
        from = from.wrapping_add(size);
    }
    Ok(())
}

/// Stores `data` at `address`.
///
/// # Safety
/// Nothing that Rust knows of may lie in `[address, address + data.len())`.
pub(super) unsafe fn write(address: usize, data: &[u8]) -> Result<(), Errno> {
    // SAFETY: the task's own port, set before main and never changed.
    let task = unsafe { mach_task_self_ };
    let mut to = address as u64;
    for piece in data.chunks(MAX_PIECE) {
        let count = u32::try_from(piece.len()).map_err(|_| Errno(libc::EINVAL))?;
        // SAFETY: the kernel only reads from `piece`; what is stored to is the caller's to promise.
        check(unsafe { mach_vm_write(task, to, piece.as_ptr().addr(), count) })?;
        to = to.wrapping_add(u64::from(count));
    }
    Ok(())
}

/// Whatever the kernel minds about a range of addresses, it is one that can't be accessed.
fn check(answer: c_int) -> Result<(), Errno> {
    if answer == KERN_SUCCESS { Ok(()) } else { Err(Errno(libc::EFAULT)) }
}
