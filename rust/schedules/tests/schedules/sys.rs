//! What needs `unsafe`: a process that forks.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

static IS_CHILD: AtomicBool = AtomicBool::new(false);

/// Whether this process is one that [`fork`] made.
pub(crate) fn is_child() -> bool {
    IS_CHILD.load(Relaxed)
}

/// Forks. The child goes on from here and leaves by [`exit`]; the parent waits for it, and gets its status.
pub(crate) fn fork() -> Option<i32> {
    // SAFETY: no arguments. Other threads of this process may have locks, but the child needs none except the allocator's,
    // which fork(3) of glibc leaves free.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        0 => {
            IS_CHILD.store(true, Relaxed);
            // SAFETY: it takes any number. Should the child wait for what shuttle does not know, SIGALRM ends it.
            unsafe { libc::alarm(10) };
            None
        }
        child => {
            let mut status = 0;
            // SAFETY: `status` is this function's, for the kernel to write to.
            let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
            assert_eq!(waited, child);
            Some(status)
        }
    }
}

/// Ends a child, without a word to anyone.
pub(crate) fn exit(status: i32) -> ! {
    // SAFETY: it takes any number, and does not return.
    unsafe { libc::_exit(status) }
}
