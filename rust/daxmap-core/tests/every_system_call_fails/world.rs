//! A mapper over a host window, or over the memory slot of a VM, whose every request is held to the model, to the kernel and to
//! the budget.

use crate::model::files::File;
use crate::model::maps::{Piece, window_of, within};
use crate::model::naive::Naive;
use crate::model::requests::{Answer, BASE, Request};
use crate::sys::{self, Plan};
use crate::vm::Vm;
use daxmap_core::{
    Budget, DAX_RANGE, GuestAddress, HostWindowBackend, KvmBackend, Mapper, OpenError, Options, page_size,
};
use std::ffi::c_long;
use std::os::fd::AsRawFd;

const RANGES: u64 = 2;
const SIZE: u64 = RANGES * DAX_RANGE;
const SLOT: u32 = 3;

pub(crate) struct World<'a> {
    files: &'a [File],
    /// Whose slot shows the window; none where a VMM would do that itself.
    vm: Option<&'a Vm>,
    /// The handle that frees a window which no slot of ours shows.
    window: HostWindowBackend,
    mapper: Mapper,
    naive: Naive,
    start: u64,
    /// Of the budget, when there was no window.
    used: u64,
    /// Whether a call that failed may have left addresses of the window to others, and the next could not take them back.
    may_have_gaps: bool,
}

/// The memory slot, with its log on, and the mapper over it.
fn over_slot(vm: &Vm) -> Result<Mapper, OpenError> {
    let slot = KvmBackend::new(vm.as_raw_fd(), SLOT)?;
    slot.start_dirty_log().unwrap(); // kept until the slot is put in
    let mapper = Mapper::new(GuestAddress(BASE), SIZE, Options::default(), |of| slot.attach(of, false))?;
    // If KVM refuses that, all is as before.
    let _ = slot.stop_dirty_log();
    Ok(mapper)
}

impl<'a> World<'a> {
    /// The window's calls fail as planned, too; which calls it made, and no window where it can't be had.
    pub(crate) fn new(files: &'a [File], vm: Option<&'a Vm>, plan: Plan) -> (Result<Self, OpenError>, Vec<c_long>) {
        let used = Budget::of_process().used();
        let window = HostWindowBackend::new().unwrap();
        let (mapper, calls) = sys::with(plan, || match vm {
            None => Mapper::new(GuestAddress(BASE), SIZE, Options::default(), |of| window.attach(of)),
            Some(vm) => over_slot(vm),
        });
        let mapper = match mapper {
            Ok(mapper) => mapper,
            Err(error) => {
                if let Some(vm) = vm {
                    assert!(!vm.shows_memory_at(BASE), "of a window that is none");
                }
                window.release().unwrap();
                assert_eq!(Budget::of_process().used(), used, "charged for no window");
                return (Err(error), calls);
            }
        };
        let access = files.iter().map(|file| (file.id, file.writable)).collect();
        let naive = Naive::new(&mapper, access, None, true);
        let start = mapper.host_address().unwrap() as u64;
        (Ok(Self { files, vm, window, mapper, naive, start, used, may_have_gaps: false }), calls)
    }

    /// Makes a request, whose calls fail as planned; which calls it made.
    pub(crate) fn make(&mut self, request: &Request, plan: Plan) -> Vec<c_long> {
        self.may_have_gaps |= plan.leaves_gaps;
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
        if let Some(vm) = self.vm {
            assert!(vm.shows_memory_at(BASE) && vm.shows_memory_at(BASE + SIZE - page_size()), "the slot");
        }
    }

    /// Goes on with the window, if it was not given up, and frees it; its last calls fail as planned.
    pub(crate) fn end(mut self, next: &Request, plan: Plan) -> Vec<c_long> {
        let is_over = self.naive.closed; // it was drained, or the window was given up
        if !is_over {
            self.make(next, Plan::default());
        }
        match self.vm {
            None => self.release(is_over, plan),
            Some(vm) => self.close(vm, is_over, plan),
        }
    }

    fn release(mut self, is_over: bool, plan: Plan) -> Vec<c_long> {
        if !is_over {
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

    /// A slot that KVM would not delete shows the window's addresses still: then they are kept.
    fn close(mut self, vm: &Vm, is_over: bool, plan: Plan) -> Vec<c_long> {
        let calls = if is_over { Vec::new() } else { self.make(&Request::Drain, plan) };
        let Self { mapper, start, used, may_have_gaps, .. } = self;
        drop(mapper);
        let is_charged = Budget::of_process().used() > used;
        assert!(!is_charged || is_over || plan.first.is_some(), "charged for a window that is gone");
        if vm.shows_memory_at(BASE) {
            assert!(is_over || plan.first.is_some(), "the slot is left");
            let kept: u64 = within(start, start + SIZE).iter().map(|piece| piece.end - piece.start).sum();
            assert!(may_have_gaps || kept == SIZE, "another's memory may land where a slot points");
            vm.delete(SLOT);
        }
        calls
    }
}
