//! Tells a forked child that what it inherited is its parent's, without a system call a call.

use super::Errno;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How many forks lie between the first process and this one.
static GENERATION: AtomicU64 = AtomicU64::new(0);

extern "C" fn count_fork_in_child() {
    GENERATION.fetch_add(1, Relaxed);
}

/// Remembers the process that made it.
///
/// It sees `fork(3)` and what calls it, `os.fork` of Python too. A bare `clone(2)` goes unseen.
#[derive(Clone, Copy, Debug)]
pub struct ForkGuard {
    generation: u64,
}

impl ForkGuard {
    /// Of this process.
    ///
    /// # Errors
    /// That of `pthread_atfork(3)`: ENOMEM.
    pub fn new() -> Result<Self, Errno> {
        static REGISTERED: OnceLock<i32> = OnceLock::new();
        let answer = *REGISTERED.get_or_init(|| {
            // SAFETY: the handler only adds to an atomic, which is safe in a forked child, and lives as long as the
            // process: a Python extension module is never unloaded.
            unsafe { libc::pthread_atfork(None, None, Some(count_fork_in_child)) }
        });
        if answer == 0 { Ok(Self { generation: GENERATION.load(Relaxed) }) } else { Err(Errno(answer)) }
    }

    /// Whether this is a fork of the process that made the guard.
    #[must_use]
    pub fn is_child(self) -> bool {
        GENERATION.load(Relaxed) != self.generation
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// Whether `check` holds in a forked child, where it must not print, nor wait for a thread of the parent.
    pub(crate) fn holds_in_child(check: impl FnOnce() -> bool) -> bool {
        // SAFETY: the child calls the check and ends; glibc and musl keep their allocator usable after a fork.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let holds = catch_unwind(AssertUnwindSafe(check)).unwrap_or(false);
            // SAFETY: it has no precondition, and runs nothing of the parent's.
            unsafe { libc::_exit(i32::from(!holds)) };
        }
        let mut status = -1;
        // SAFETY: the kernel writes an int to the pointer, which is of one.
        let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert!(waited == child && child > 0);
        status == 0
    }

    #[test]
    fn a_child_is_told_from_the_process_that_made_the_guard() {
        let guard = ForkGuard::new().unwrap();
        assert!(holds_in_child(|| guard.is_child() && !ForkGuard::new().unwrap().is_child()));
        assert!(!guard.is_child());
    }
}
