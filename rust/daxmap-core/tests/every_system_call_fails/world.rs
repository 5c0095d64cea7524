//! A mapper over a host window, whose every request is held to the model, to the kernel and to the budget.

use crate::model::files::File;
use crate::model::maps::{Piece, window_of, within};
use crate::model::naive::Naive;
use crate::model::requests::{Answer, BASE, Request};
use crate::sys::{self, Plan};
use daxmap_core::{Budget, DAX_RANGE, GuestAddress, HostWindowBackend, Mapper, OpenError, Options};
use std::ffi::c_long;

const RANGES: u64 = 2;
const SIZE: u64 = RANGES * DAX_RANGE;

pub(crate) struct World<'a> {
    files: &'a [File],
    window: HostWindowBackend,
    mapper: Mapper,
    naive: Naive,
    start: u64,
    /// Of the budget, when there was no window.
    used: u64,
}

impl<'a> World<'a> {
    /// The window's calls fail as planned, too; how many it made, and none where it can't be had.
    pub(crate) fn new(files: &'a [File], plan: Plan) -> (Result<Self, OpenError>, Vec<c_long>) {
        let used = Budget::of_process().used();
        let window = HostWindowBackend::new().unwrap();
        let start = || Mapper::new(GuestAddress(BASE), SIZE, Options::default(), |of| window.attach(of));
        let (mapper, calls) = sys::with(plan, start);
        let mapper = match mapper {
            Ok(mapper) => mapper,
            Err(error) => {
                window.release().unwrap();
                assert_eq!(Budget::of_process().used(), used, "charged for no window");
                return (Err(error), calls);
            }
        };
        let access = files.iter().map(|file| (file.id, file.writable)).collect();
        let naive = Naive::new(&mapper, access, None, true);
        let start = mapper.host_address().unwrap() as u64;
        (Ok(Self { files, window, mapper, naive, start, used }), calls)
    }

    /// Makes a request, whose calls fail as planned; which calls it made.
    pub(crate) fn make(&mut self, request: &Request, plan: Plan) -> Vec<c_long> {
        let (answer, calls): (Answer, _) = sys::with(plan, || request.make(&self.mapper, self.files));
        let has_given_up = self.mapper.is_closed() && !matches!(request, Request::Drain);
        let answer = Answer { lost: answer.lost || has_given_up, ..answer };
        self.naive.check(request, &answer, &self.mapper, plan.first.is_some());
        if !self.naive.closed {
            self.look();
        }
        calls
    }

    /// The kernel shows what the book says, and the budget is charged for it.
    fn look(&self) {
        let end = self.start + SIZE;
        assert_eq!(within(self.start, end), window_of(&self.naive.live, self.start, end), "/proc/self/maps");
        let charged = Budget::of_process().used() - self.used;
        let holes = charged.checked_sub(2 * self.naive.live.len() as u64);
        assert!(holes.is_some_and(|holes| (1..=RANGES + 1).contains(&holes)), "{charged} are charged");
    }

    /// Goes on with the window, if it was not given up, and frees it; its last calls fail as planned.
    pub(crate) fn end(mut self, next: &Request, plan: Plan) -> Vec<c_long> {
        let is_over = self.naive.closed; // it was drained, or the window was given up
        if !is_over {
            self.make(next, Plan::default());
            self.make(&Request::Drain, Plan::default());
        }
        let Self { window, mapper, start, used, .. } = self;
        mapper.drain_all().unwrap();
        drop(mapper);
        let (released, calls) = sys::with(plan, || window.release());
        if released.is_err() && !is_over {
            assert!(plan.first.is_some(), "{released:?}");
            assert_eq!(within(start, start + SIZE), [Piece::hole(start, start + SIZE)]);
            window.release().unwrap();
        }
        let is_kept = is_over && released.is_err();
        assert!(is_kept || Budget::of_process().used() == used, "charged for a window that is gone");
        calls
    }
}
