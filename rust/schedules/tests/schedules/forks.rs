//! A callback that forks while other threads are in the middle of something. In the child there is the forking thread alone,
//! and it is to wait for nobody: who had a lock is not there to let it go.

use crate::explore::{explore_under, join, start};
use crate::guest::guest;
use crate::requests::{BASE, any, errno, file, range, set_up};
use crate::sys::{exit, fork, is_child};
use daxmap_core::{Error, FileOffset, GuestAddress, MapRequest, Mapper, Overlap, WindowOffset, page_size};
use every_call::every_call;
use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

#[path = "../../../daxmap-core/tests/every_call/mod.rs"]
mod every_call;

const WAITED: i32 = 3;
const PANICKED: i32 = 4;

/// In a child it lets the thread go on that forked, and no other.
struct OneInTheChild(Box<dyn Scheduler + Send>);

impl Scheduler for OneInTheChild {
    fn new_execution(&mut self) -> Option<Schedule> {
        self.0.new_execution()
    }

    fn next_task(&mut self, runnable: &[&Task], current: Option<TaskId>, is_yielding: bool) -> Option<TaskId> {
        if !is_child() {
            return self.0.next_task(runnable, current, is_yielding);
        }
        match current {
            Some(forked) if runnable.iter().any(|task| task.id() == forked) => Some(forked),
            _ => exit(WAITED),
        }
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }
}

#[test]
fn a_child_waits_for_nobody_and_changes_nothing() {
    explore_under(forking, OneInTheChild);
}

fn forking() {
    let (mapper, guest) = guest();
    (0..4).for_each(|_| set_up(&mapper, Overlap::Replace).unwrap());
    assert!(guest.callback.set(forks_once(3)).is_ok());
    let threads = start(3, &mapper, |mapper| {
        for _ in 0..3 {
            let loan = mapper.resolve(GuestAddress(BASE.0 + range().0.0), 1, false);
            any(mapper);
            end_child(mapper, loan);
        }
    });
    join(threads);
    let drained = mapper.drain_all();
    end_child(&mapper, ());
    drained.unwrap();
}

#[test]
fn what_is_left_of_a_call_in_the_child_waits_for_no_device() {
    explore_under(forking_in_a_batch, OneInTheChild);
}

fn forking_in_a_batch() {
    let (mapper, guest) = guest();
    let pages = [0, 1, 2, 3].map(|page| (WindowOffset(page * page_size()), page_size()));
    for (window_offset, length) in pages {
        let request = MapRequest { file_offset: FileOffset(0), window_offset, length, writable: false };
        mapper.setup(file(), &request, Overlap::Refuse).unwrap();
    }
    assert!(guest.callback.set(forks_once(2)).is_ok());
    let device = start(1, &mapper, |mapper| (0..4).for_each(|_| drop(mapper.resolve(BASE, 1, false))));
    let of_device = mapper.resolve(BASE, 1, false).unwrap();
    let removed = mapper.remove_batch(&pages);
    end_child(&mapper, of_device);
    assert_eq!(removed.unwrap().removed, 3);
    join(device);
    let drained = mapper.drain_all();
    end_child(&mapper, ());
    drained.unwrap();
}

/// A callback that forks, once at most, one in `times` times.
fn forks_once(times: u32) -> Box<dyn Fn() + Send + Sync> {
    let forked = AtomicBool::new(false);
    Box::new(move || {
        if thread_rng().gen_ratio(1, times)
            && !forked.swap(true, Relaxed)
            && let Some(status) = fork()
        {
            assert_eq!(
                status,
                0,
                "of waitpid; {:#x}: the child waited, {:#x}: it panicked",
                WAITED << 8,
                PANICKED << 8
            );
        }
    })
}

/// If this is the child, has it try everything, and ends it.
fn end_child<T>(mapper: &Mapper, dropped: T) {
    if is_child() {
        let tried = catch_unwind(AssertUnwindSafe(|| {
            drop(dropped);
            try_everything(mapper);
        }));
        exit(if tried.is_ok() { 0 } else { PANICKED });
    }
}

/// All that a child may do is refused. Nobody is called: the guest would be busy.
fn try_everything(mapper: &Mapper) {
    if mapper.is_closed() {
        return; // the fork came in the very last call, that of closing
    }
    let refused = every_call(mapper, file()).map(errno);
    mapper.abandon(); // what a drop does
    assert_eq!(refused, [libc::EPERM; 17]);
    assert!(mapper.in_forked_child());
}
