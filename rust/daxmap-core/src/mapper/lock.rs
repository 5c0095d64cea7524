//! A lock that knows its owner, so that a callback which calls its own mapper gets an error, not a deadlock; and that
//! can be waited for with a way out, since two mappers whose callbacks use each other wait for each other for ever.

use crate::error::{Error, Result};
use std::ops::{Deref, DerefMut};
use std::ptr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a thread waits before it asks whether to stop.
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
    state: Mutex<State<T>>,
    released: Condvar,
}

#[derive(Debug)]
struct State<T> {
    /// What is locked. While somebody has the lock, it is in the [`Guard`].
    value: T,
    owner: usize,
    /// How many threads wait.
    waiting: usize,
}

impl<T: Default> Lock<T> {
    pub(super) fn new(value: T) -> Self {
        Self { state: Mutex::new(State { value, owner: NOBODY, waiting: 0 }), released: Condvar::new() }
    }

    /// The lock. A panic under it poisons nothing: what it protects is changed in single steps.
    ///
    /// # Errors
    /// [`Error::Reentered`] where this thread has it already, [`Error::StoppedWaiting`] once `stop_waiting`, which is
    /// asked now and then while another thread has it, says so.
    pub(super) fn acquire(&self, stop_waiting: Option<fn() -> bool>) -> Result<Guard<'_, T>> {
        let me = this_thread();
        let mut state = self.state();
        if state.owner == me {
            return Err(Error::Reentered);
        }
        while state.owner != NOBODY {
            state = self.wait(state);
            if state.owner == NOBODY {
                break; // not asked: it is this thread's turn
            }
            drop(state); // asking may take as long as the interpreter is busy
            if stop_waiting.is_some_and(|stop| stop()) {
                return Err(Error::StoppedWaiting);
            }
            state = self.state();
        }
        state.owner = me;
        let value = std::mem::take(&mut state.value);
        drop(state);
        Ok(Guard { lock: self, value })
    }

    /// Waits until the lock is free, but no longer than [`SLICE`].
    fn wait<'a>(&self, mut state: MutexGuard<'a, State<T>>) -> MutexGuard<'a, State<T>> {
        state.waiting = state.waiting.saturating_add(1);
        let waited = self.released.wait_timeout_while(state, SLICE, |state| state.owner != NOBODY);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.waiting = state.waiting.saturating_sub(1);
        state
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get_mut(&mut self) -> &mut T {
        &mut self.state.get_mut().unwrap_or_else(PoisonError::into_inner).value
    }
}

pub(super) struct Guard<'a, T: Default> {
    lock: &'a Lock<T>,
    value: T,
}

impl<T: Default> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        let mut state = self.lock.state();
        state.value = std::mem::take(&mut self.value);
        state.owner = NOBODY;
        if state.waiting > 0 {
            drop(state);
            self.lock.released.notify_one();
        }
    }
}

impl<T: Default> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Default> DerefMut for Guard<'_, T> {
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
    fn whoever_is_told_to_stop_waiting_does_and_the_lock_stays_its_owners() {
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
