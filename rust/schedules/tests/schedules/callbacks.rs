//! Callbacks that call their own mapper, or panic, while others use it.

use crate::explore::{explore, join, start};
use crate::guest::{booked, guest};
use crate::requests::{any, errno, range, set_up};
use daxmap_core::Overlap;
use shuttle::rand::{Rng, thread_rng};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

#[test]
fn a_callback_is_refused_by_its_own_mapper_and_others_wait() {
    explore(|| {
        let (mapper, guest) = guest();
        let itself = Arc::downgrade(&mapper);
        let refused = move || {
            let Some(mapper) = itself.upgrade() else { return }; // it is dropped
            let (offset, length) = range();
            assert!(matches!(errno(set_up(&mapper, Overlap::Replace)), libc::EDEADLK | libc::ENODEV));
            assert!(matches!(errno(mapper.remove(offset, length)), libc::EDEADLK | libc::ENODEV));
            let drained = mapper.drain_all();
            assert!(mapper.is_closed() || errno(drained) == libc::EDEADLK);
        };
        assert!(guest.callback.set(Box::new(refused)).is_ok());
        let threads = start(3, &mapper, |mapper| (0..2).for_each(|_| any(mapper)));
        join(threads);
        assert_eq!(booked(&mapper), guest.pages());
        mapper.drain_all().unwrap();
    });
}

#[test]
fn a_callback_that_panics_leaves_the_lock_free_and_the_book_true() {
    explore(|| {
        let (mapper, guest) = guest();
        let may_panic = || {
            if thread_rng().gen_ratio(1, 4) {
                resume_unwind(Box::new("on purpose"));
            }
        };
        assert!(guest.callback.set(Box::new(may_panic)).is_ok());
        let threads =
            start(3, &mapper, |mapper| (0..3).for_each(|_| _ = catch_unwind(AssertUnwindSafe(|| any(mapper)))));
        join(threads);
        assert_eq!(booked(&mapper), guest.pages());
        while catch_unwind(AssertUnwindSafe(|| mapper.drain_all())).is_err() {}
    });
}
