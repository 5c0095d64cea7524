//! Loads and stores at any address of this process, which fault without a signal: `process_vm_readv(2)` honours what a
//! mapping allows, and says EFAULT where a guest's access would end in an exit.

/// The guest's access has no page, or no right to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault;

/// The 8 bytes at `address`.
pub(crate) fn load(address: u64) -> Result<u64, Fault> {
    let mut word = 0_u64;
    let (local, remote) = (one_word(&raw mut word as u64), one_word(address));
    // SAFETY: the kernel checks the remote address; the local one is of 8 bytes that are this function's own.
    let copied = unsafe { libc::process_vm_readv(this_process(), &raw const local, 1, &raw const remote, 1, 0) };
    if copied == 8 { Ok(word) } else { Err(Fault) }
}

/// Stores 8 bytes at `address`, which lies in memory that a guest was shown: Rust has no object there.
pub(crate) fn store(address: u64, word: u64) -> Result<(), Fault> {
    let (local, remote) = (one_word(&raw const word as u64), one_word(address));
    // SAFETY: the kernel checks the remote address, which lies in a guest's window or in memory mapped for a guest.
    let copied = unsafe { libc::process_vm_writev(this_process(), &raw const local, 1, &raw const remote, 1, 0) };
    if copied == 8 { Ok(()) } else { Err(Fault) }
}

fn this_process() -> libc::pid_t {
    std::process::id().cast_signed()
}

fn one_word(address: u64) -> libc::iovec {
    libc::iovec { iov_base: address as *mut libc::c_void, iov_len: 8 }
}
