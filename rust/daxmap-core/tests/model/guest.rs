//! A guest whose memory changes range by range, and whose every call may fail, in doubt too.

use daxmap_core::{FileId, Refusal};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What comes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// It does nothing, and says so.
    Refused,
    /// It fails before it has done its work, and nobody can tell.
    InDoubtUndone,
    /// It fails after it has done its work, and nobody can tell.
    InDoubtDone,
}

pub(crate) const FAULTS: [Fault; 3] = [Fault::Refused, Fault::InDoubtUndone, Fault::InDoubtDone];

/// What a page of the guest is backed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Host memory, at this address.
    Memory(u64),
    /// A file, and an offset in it.
    File(FileId, u64),
}

/// The guest's memory.
#[derive(Debug)]
pub(crate) struct Memory {
    /// By window offset: what each page shows, and whether the guest may store to it.
    pub(crate) pages: BTreeMap<u64, (Origin, bool)>,
    /// Start and end of what one `map` gave.
    ranges: BTreeMap<u64, u64>,
    /// Whether it refuses a map over another, and an unmap of what is not just a range that one map gave. Else it works
    /// page by page, and takes a range away that is not there.
    strict: bool,
    page: u64,
    pub(crate) plan: VecDeque<Fault>,
    pub(crate) calls: usize,
    /// Whether a call failed since this was reset.
    pub(crate) failed: bool,
    /// Whether one ever was made to.
    pub(crate) ever_failed: bool,
}

/// The guest, as the backend and the test both hold it.
#[derive(Clone, Debug)]
pub(crate) struct Guest(Arc<Mutex<Memory>>);

impl Guest {
    pub(crate) fn new(strict: bool, page: u64) -> Self {
        Self(Arc::new(Mutex::new(Memory {
            pages: BTreeMap::new(),
            ranges: BTreeMap::new(),
            strict,
            page,
            plan: VecDeque::new(),
            calls: 0,
            failed: false,
            ever_failed: false,
        })))
    }

    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows `[start, end)`, whose pages are backed as `origin` says for their distance from the start.
    pub(crate) fn map(
        &self,
        (start, end): (u64, u64),
        writable: bool,
        origin: impl Fn(u64) -> Origin,
    ) -> Result<(), Refusal> {
        let mut memory = self.memory();
        let free = memory.ranges.range(..end).next_back().is_none_or(|(_, other_end)| *other_end <= start);
        memory.call(free, |memory| {
            memory.take_pages(start, end);
            memory.ranges.insert(start, end);
            for at in memory.pages_of(start, end) {
                memory.pages.insert(at, (origin(at - start), writable));
            }
        })
    }

    pub(crate) fn unmap(&self, (start, end): (u64, u64)) -> Result<(), Refusal> {
        let mut memory = self.memory();
        let known = memory.ranges.get(&start) == Some(&end);
        memory.call(known, |memory| memory.take_pages(start, end))
    }

    pub(crate) fn protect(&self, (start, end): (u64, u64), writable: bool) -> Result<(), Refusal> {
        let mut memory = self.memory();
        let known = memory.ranges.get(&start) == Some(&end);
        assert!(known, "only what is surely there is protected");
        memory.call(known, |memory| {
            for at in memory.pages_of(start, end) {
                memory.pages.get_mut(&at).unwrap().1 = writable;
            }
        })
    }
}

impl Memory {
    /// Makes one call. `right` is whether what the caller believes to be there is.
    fn call(&mut self, right: bool, work: impl FnOnce(&mut Self)) -> Result<(), Refusal> {
        assert!(right || self.ever_failed || std::thread::panicking(), "nothing failed, yet the backend is wrong");
        self.calls += 1;
        let fault = self.plan.pop_front().unwrap_or(Fault::None);
        self.failed |= fault != Fault::None;
        self.ever_failed |= fault != Fault::None;
        let possible = right || !self.strict;
        if possible && matches!(fault, Fault::None | Fault::InDoubtDone) {
            work(self);
        }
        match fault {
            Fault::None if possible => Ok(()),
            Fault::None | Fault::Refused => {
                self.failed = true;
                Err(Refusal::io("refused"))
            }
            Fault::InDoubtUndone | Fault::InDoubtDone => Err(Refusal::io("in doubt").in_doubt()),
        }
    }

    fn pages_of(&self, start: u64, end: u64) -> impl Iterator<Item = u64> + use<> {
        (start..end).step_by(usize::try_from(self.page).unwrap())
    }

    fn take_pages(&mut self, start: u64, end: u64) {
        self.pages.retain(|at, _| *at < start || *at >= end);
        let touched: Vec<_> =
            self.ranges.range(..end).map(|(from, to)| (*from, *to)).filter(|(_, to)| *to > start).collect();
        for (from, to) in touched {
            self.ranges.remove(&from);
            for (left, right) in [(from, to.min(start)), (from.max(end), to)] {
                if left < right {
                    self.ranges.insert(left, right);
                }
            }
        }
    }
}
