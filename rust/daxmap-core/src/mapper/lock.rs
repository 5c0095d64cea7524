//! A lock that knows its owner, so that a callback which calls its own mapper gets an error, not a deadlock; and that
//! can be waited for with a way out, since two mappers whose callbacks use each other wait for each other for ever.

use crate::error::{Error, Result};
use crate::sync::atomic::{AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError, thread_local};
use std::ops::{Deref, DerefMut};
use std::ptr;
use std::time::Duration;

/// How long a thread waits before it looks for itself, and asks whether to stop.
const SLICE: Duration = Duration::from_millis(50);

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
    /// How many threads wait. They do so at `released`, with `queue`; who finds the lock free needs neither.
    waiting: AtomicUsize,
    queue: Mutex<()>,
    released: Condvar,
}

impl<T> Lock<T> {
    pub(super) fn new(value: T) -> Self {
        Self {
            owner: AtomicUsize::new(NOBODY),
            value: Mutex::new(value),
            waiting: AtomicUsize::new(0),
            queue: Mutex::new(()),
            released: Condvar::new(),
        }
    }

    /// The lock. A panic under it poisons nothing: what it protects is changed in single steps.
    ///
    /// # Errors
    /// [`Error::Reentered`] where this thread has it already, [`Error::StoppedWaiting`] once `stop_waiting`, which is
    /// asked now and then while another thread has it, says so.
    pub(super) fn acquire(&self, stop_waiting: Option<fn() -> bool>) -> Result<Guard<'_, T>> {
        let me = this_thread();
        if self.owner.load(Relaxed) == me {
            return Err(Error::Reentered);
        }
        let value = match self.at_once() {
            Some(value) => value,
            None => self.wait(stop_waiting)?,
        };
        self.owner.store(me, Relaxed);
        Ok(Guard { value, wake: Wake(self) })
    }

    fn at_once(&self) -> Option<MutexGuard<'_, T>> {
        match self.value.try_lock() {
            Ok(value) => Some(value),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    #[cold]
    fn wait(&self, stop_waiting: Option<fn() -> bool>) -> Result<MutexGuard<'_, T>> {
        self.waiting.fetch_add(1, SeqCst);
        let waited = loop {
            let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(value) = self.at_once() {
                break Ok(value);
            }
            let woken = self.released.wait_timeout(queue, SLICE).unwrap_or_else(PoisonError::into_inner);
            let in_vain = woken.1.timed_out();
            drop(woken); // asking may take as long as the interpreter is busy
            if in_vain && stop_waiting.is_some_and(|stop| stop()) {
                break Err(Error::StoppedWaiting);
            }
        };
        self.waiting.fetch_sub(1, SeqCst);
        waited
    }

    pub(super) fn get_mut(&mut self) -> &mut T {
        self.value.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Guard<'a, T> {
    value: MutexGuard<'a, T>,
    /// Dropped after the value, and so with the lock free.
    wake: Wake<'a, T>,
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        self.wake.0.owner.store(NOBODY, Relaxed); // before the mutex is let go, which happens after this
    }
}

/// Wakes a thread that waits. One that is overlooked, since it has just begun to, finds the lock free a [`SLICE`] later.
struct Wake<'a, T>(&'a Lock<T>);

impl<T> Drop for Wake<'_, T> {
    fn drop(&mut self) {
        if self.0.waiting.load(SeqCst) > 0 {
            drop(self.0.queue.lock());
            self.0.released.notify_one();
        }
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
        let guard = lock.acquire(None).unwrap();
        assert!(matches!(lock.acquire(None), Err(Error::Reentered)));
        thread::scope(|scope| {
            let others: Vec<_> = (0..4).map(|_| scope.spawn(|| *lock.acquire(None).unwrap() += 1)).collect();
            drop(guard);
            for other in others {
                other.join().unwrap();
            }
        });
        assert_eq!(*lock.acquire(None).unwrap(), 4);
    }

    #[test]
    fn a_thread_that_is_told_to_stop_waiting_does_and_the_lock_stays_its_owners() {
        let lock = Lock::new(0);
        let mut guard = lock.acquire(None).unwrap();
        thread::scope(|scope| {
            let other = scope.spawn(|| matches!(lock.acquire(Some(|| true)), Err(Error::StoppedWaiting)));
            assert!(other.join().unwrap());
        });
        *guard = 1;
        drop(guard);
        assert_eq!(*lock.acquire(Some(|| true)).unwrap(), 1, "nobody is asked where there is nothing to wait for");
    }

    #[test]
    fn a_thread_that_is_told_to_go_on_waits_until_the_lock_is_free() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let lock = Lock::new(0);
        let guard = lock.acquire(None).unwrap();
        let go_on = || ASKED.fetch_add(1, Relaxed) == usize::MAX;
        thread::scope(|scope| {
            let other = scope.spawn(|| lock.acquire(Some(go_on)).map(drop));
            while ASKED.load(Relaxed) == 0 && !other.is_finished() {
                thread::yield_now();
            }
            drop(guard);
            other.join().unwrap().unwrap();
        });
    }

    #[test]
    fn many_threads_take_turns() {
        let lock = Lock::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| *lock.acquire(Some(|| false)).unwrap() += 1));
            }
        });
        assert_eq!(*lock.acquire(None).unwrap(), 40_000);
    }

    #[test]
    fn a_panic_does_not_wedge_it() {
        let lock = Lock::new(1);
        let panicked = thread::scope(|scope| {
            scope
                .spawn(|| {
                    let _guard = lock.acquire(None).unwrap();
                    panic!("on purpose");
                })
                .join()
        });
        assert!(panicked.is_err());
        assert_eq!(*lock.acquire(None).unwrap(), 1);
    }
}
