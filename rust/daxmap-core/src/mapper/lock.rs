//! A mutex that knows its owner, so that a callback which calls its own mapper gets an error, not a deadlock.

use std::ops::{Deref, DerefMut};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// No thread's [`this_thread`].
const NOBODY: usize = 0;

thread_local! {
    static HERE: u8 = const { 0 };
}

/// A number that no other living thread has.
fn this_thread() -> usize {
    HERE.with(|here| ptr::from_ref(here).addr())
}

#[derive(Debug)]
pub(super) struct Lock<T> {
    /// Whose the lock is. Relaxed is enough: a thread only looks for itself, and it sees what it wrote.
    owner: AtomicUsize,
    value: Mutex<T>,
}

impl<T> Lock<T> {
    pub(super) fn new(value: T) -> Self {
        Self { owner: AtomicUsize::new(NOBODY), value: Mutex::new(value) }
    }

    /// The lock, or `None` where this thread has it already. A panic under it poisons nothing: what it protects is
    /// changed in single steps.
    pub(super) fn acquire(&self) -> Option<Guard<'_, T>> {
        let me = this_thread();
        if self.owner.load(Relaxed) == me {
            return None;
        }
        let value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        self.owner.store(me, Relaxed);
        Some(Guard { owner: &self.owner, value })
    }

    pub(super) fn get_mut(&mut self) -> &mut T {
        self.value.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Guard<'a, T> {
    owner: &'a AtomicUsize,
    value: MutexGuard<'a, T>,
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        self.owner.store(NOBODY, Relaxed); // before the mutex is let go, which happens after this
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn its_owner_is_refused_and_others_wait() {
        let lock = Lock::new(0);
        let guard = lock.acquire().unwrap();
        assert!(lock.acquire().is_none());
        thread::scope(|scope| {
            let other = scope.spawn(|| *lock.acquire().unwrap() += 1);
            drop(guard);
            other.join().unwrap();
        });
        assert_eq!(*lock.acquire().unwrap(), 1);
    }

    #[test]
    fn a_panic_does_not_wedge_it() {
        let lock = Lock::new(1);
        let panicked = thread::scope(|scope| {
            scope
                .spawn(|| {
                    let _guard = lock.acquire().unwrap();
                    panic!("on purpose");
                })
                .join()
        });
        assert!(panicked.is_err());
        assert_eq!(*lock.acquire().unwrap(), 1);
    }
}
