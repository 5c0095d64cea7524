//! Which queues are at work, so that one can be stopped.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
struct State {
    /// The queues of which a request is being answered, a bit each.
    busy: u64,
    /// How many threads wait for the front end.
    waiting: u64,
}

/// Which queues are at work.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    state: Mutex<State>,
    changed: Condvar,
}

/// A queue is at work until this is dropped.
#[derive(Debug)]
pub(crate) struct Busy<'a>(&'a Activity, u64);

/// A thread waits for the front end until this is dropped.
#[derive(Debug)]
pub(crate) struct Waiting<'a>(&'a Activity);

impl Activity {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The queue of this number is at work.
    pub(crate) fn begin(&self, queue: u32) -> Busy<'_> {
        let bit = 1_u64.checked_shl(queue).unwrap_or(0);
        self.state().busy |= bit;
        Busy(self, bit)
    }

    /// This thread waits for the front end.
    pub(crate) fn wait_for_front_end(&self) -> Waiting<'_> {
        let mut state = self.state();
        state.waiting = state.waiting.saturating_add(1);
        self.changed.notify_all();
        Waiting(self)
    }

    /// Waits until the queue is not at work. Not while a thread waits for the front end, which may be waiting for this: its
    /// request then ends when the queue has stopped, and is not answered.
    pub(crate) fn stopped(&self, queue: u32) {
        let bit = 1_u64.checked_shl(queue).unwrap_or(0);
        let works = |state: &mut State| state.busy & bit != 0 && state.waiting == 0;
        drop(self.changed.wait_while(self.state(), works).unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.state().busy &= !self.1;
        self.0.changed.notify_all();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.waiting = state.waiting.saturating_sub(1);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    use std::thread;

    /// Fails where `stop` does not wait until queue 0 is not at work. (By chance it may not notice.)
    pub(crate) fn is_waited_for(activity: &Activity, stop: impl FnOnce() + Send) {
        let done = AtomicBool::new(false);
        let busy = activity.begin(0);
        thread::scope(|scope| {
            let stopped = scope.spawn(|| {
                stop();
                assert!(done.load(SeqCst), "stopped at work");
            });
            for _ in 0..10_000 {
                thread::yield_now(); // it is to be waiting by now
            }
            done.store(true, SeqCst);
            drop(busy);
            stopped.join().unwrap();
        });
    }

    #[test]
    fn a_queue_is_waited_for_unless_the_front_end_is() {
        let activity = Activity::default();
        activity.stopped(0);
        let _other = activity.begin(1);
        activity.stopped(0);
        let busy = activity.begin(0);
        thread::scope(|scope| {
            let stopped = scope.spawn(|| activity.stopped(0));
            let waiting = activity.wait_for_front_end();
            stopped.join().unwrap();
            drop(waiting);
        });
        drop(busy);
        is_waited_for(&activity, || activity.stopped(0));
    }
}
