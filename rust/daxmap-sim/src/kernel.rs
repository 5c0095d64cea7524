//! A Linux guest's DAX, rule by rule as fs/fuse/dax.c has it: which range of the window it takes, when it gives one back, and
//! what it makes of an answer.

use crate::disk::{Key, Name};
use crate::guest::Guest;
use crate::model::requests::Request;
use crate::stage::Stage;
use crate::wire::{Body, NO_FH, Opcode};
use daxmap_core::DAX_RANGE;
use std::collections::{BTreeMap, VecDeque};

/// Reclaim starts when fewer are free, in percent (`FUSE_DAX_RECLAIM_THRESHOLD`).
const RECLAIM_BELOW: usize = 20;
/// Ranges that one run of the reclaim worker frees (`FUSE_DAX_RECLAIM_CHUNK`).
const RECLAIM_AT_ONCE: usize = 10;

/// An inode as the guest's kernel has it.
#[derive(Debug)]
pub(crate) struct Inode {
    pub(crate) key: Key,
    /// What the guest believes: the host may have changed it.
    pub(crate) size: u64,
    /// Whether its pages are the window's (`S_DAX`).
    pub(crate) dax: bool,
    pub(crate) lookups: u64,
    /// Where the server looks for it, should it have to open it again.
    pub(crate) place: Name,
    /// Whether the server keeps it open, since it has lost its place.
    pub(crate) kept: bool,
    /// The ranges of the window that show it, by the range of the file (`fuse_inode_dax.tree`).
    pub(crate) tree: BTreeMap<u64, usize>,
}

/// A range of the window (`struct fuse_dax_mapping`) that is in use.
#[derive(Clone, Copy, Debug)]
struct Busy {
    nodeid: u64,
    /// Of the file.
    range: u64,
    writable: bool,
}

/// Why an access came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The process gets SIGBUS, or this errno.
    Errno,
    /// It waits until a range is free.
    Waits,
}

/// The window as the guest's kernel has it (`struct fuse_conn_dax`).
#[derive(Debug)]
pub(crate) struct Ranges {
    /// What each is used for.
    uses: Vec<Option<Busy>>,
    free: VecDeque<usize>,
    busy: VecDeque<usize>,
    /// Whether the worker was kicked.
    pub(crate) reclaim_is_due: bool,
}

impl Ranges {
    pub(crate) fn new(count: u64) -> Self {
        let count = usize::try_from(count).unwrap();
        let (uses, free) = (vec![None; count], (0..count).collect());
        Self { uses, free, busy: VecDeque::new(), reclaim_is_due: false }
    }

    /// `alloc_dax_mapping`.
    fn take(&mut self) -> Option<usize> {
        let taken = self.free.pop_front();
        let threshold = (self.uses.len() * RECLAIM_BELOW / 100).max(1);
        self.reclaim_is_due |= self.free.len() < threshold;
        taken
    }

    /// `dmap_add_to_free_pool`.
    fn give_back(&mut self, number: usize) {
        self.uses[number] = None;
        self.busy.retain(|busy| *busy != number);
        self.free.push_back(number);
    }
}

/// Where a range lies in the window.
fn window_offset(number: usize) -> u64 {
    number as u64 * DAX_RANGE
}

impl Guest {
    /// The offset in the window at which the byte at `offset` of a file is seen (`fuse_iomap_begin`). `in_fault` is whether a
    /// page fault asks: then nothing is reclaimed in place.
    pub(crate) fn seen_at(
        &mut self,
        stage: &mut Stage,
        nodeid: u64,
        offset: u64,
        writable: bool,
        in_fault: bool,
    ) -> Result<u64, Refused> {
        let range = offset / DAX_RANGE;
        let number = match self.inodes[&nodeid].tree.get(&range).copied() {
            Some(number) => {
                if writable && !self.ranges.uses[number].unwrap().writable {
                    self.set_up(stage, nodeid, range, number, writable)?; // fuse_upgrade_dax_mapping
                }
                number
            }
            None => self.new_mapping(stage, nodeid, range, writable, in_fault)?,
        };
        Ok(window_offset(number) + offset % DAX_RANGE)
    }

    /// `fuse_setup_new_dax_mapping`.
    fn new_mapping(
        &mut self,
        stage: &mut Stage,
        nodeid: u64,
        range: u64,
        writable: bool,
        in_fault: bool,
    ) -> Result<usize, Refused> {
        let number = match self.ranges.take() {
            Some(number) => number,
            None => self.reclaimed(stage, nodeid, in_fault)?,
        };
        if let Err(refused) = self.set_up(stage, nodeid, range, number, writable) {
            self.ranges.give_back(number);
            return Err(refused);
        }
        self.ranges.busy.push_back(number);
        self.inodes.get_mut(&nodeid).unwrap().tree.insert(range, number);
        Ok(number)
    }

    /// A range, when none is free: one of the same inode's, or whatever the worker frees
    /// (`alloc_dax_mapping_reclaim`, and the retry of `__fuse_dax_fault`).
    fn reclaimed(&mut self, stage: &mut Stage, nodeid: u64, in_fault: bool) -> Result<usize, Refused> {
        let first = self.inodes[&nodeid].tree.values().next().copied();
        if let Some(number) = first.filter(|_| !in_fault) {
            self.reclaim_one(stage, number);
            self.ranges.busy.retain(|busy| *busy != number);
            return Ok(number);
        }
        self.reclaim(stage);
        self.ranges.take().ok_or(Refused::Waits)
    }

    /// The worker (`try_to_free_dmap_chunks`).
    pub(crate) fn reclaim(&mut self, stage: &mut Stage) {
        self.ranges.reclaim_is_due = false;
        for _ in 0..RECLAIM_AT_ONCE {
            let Some(number) = self.ranges.busy.pop_front() else { break };
            stage.count("a range was reclaimed", 1);
            self.reclaim_one(stage, number);
            self.ranges.give_back(number);
        }
    }

    /// `reclaim_one_dmap_locked`: whatever the answer is, the guest uses the range for something else.
    fn reclaim_one(&mut self, stage: &mut Stage, number: usize) {
        let busy = self.ranges.uses[number].unwrap();
        self.inodes.get_mut(&busy.nodeid).unwrap().tree.remove(&busy.range);
        let _ = self.remove(stage, &[(window_offset(number), DAX_RANGE)]);
    }

    /// Gives back all ranges of an inode that is evicted (`inode_reclaim_dmap_range`, `dmap_removemapping_list`): the first
    /// list that fails is the last that is sent, and all ranges are free all the same.
    pub(crate) fn give_back_all_of(&mut self, stage: &mut Stage, nodeid: u64) {
        let tree = std::mem::take(&mut self.inodes.get_mut(&nodeid).unwrap().tree);
        let numbers: Vec<usize> = tree.into_values().collect();
        for list in numbers.chunks(self.machine.kind.most_removals) {
            let entries: Vec<_> = list.iter().map(|number| (window_offset(*number), DAX_RANGE)).collect();
            if self.remove(stage, &entries) != 0 {
                stage.count("a list of removals stopped", 1);
                break;
            }
        }
        for number in numbers {
            self.ranges.give_back(number);
        }
    }

    /// `fuse_setup_one_mapping`, for a new range or for the upgrade of one.
    fn set_up(
        &mut self,
        stage: &mut Stage,
        nodeid: u64,
        range: u64,
        number: usize,
        writable: bool,
    ) -> Result<(), Refused> {
        let (file_offset, at) = (range * DAX_RANGE, window_offset(number));
        let errno = self.ask_to_map(stage, nodeid, file_offset, (at, DAX_RANGE), writable);
        if errno != 0 {
            return Err(Refused::Errno);
        }
        self.ranges.uses[number] = Some(Busy { nodeid, range, writable });
        Ok(())
    }

    /// SETUPMAPPING; its errno.
    pub(crate) fn ask_to_map(
        &mut self,
        stage: &mut Stage,
        nodeid: u64,
        file_offset: u64,
        range: (u64, u64),
        writable: bool,
    ) -> i32 {
        let flags = if writable { 3 } else { 2 };
        let body = Body::default().longs(&[NO_FH, file_offset, range.1, flags, range.0]);
        let file = self.inodes[&nodeid].key;
        let means = Request::Setup { file, file_offset, range, writable, replace: true };
        let reply = self.machine.ask(stage, Opcode::SetupMapping, nodeid, &body, Some(&means));
        let goes_round = matches!(reply.errno, libc::EAGAIN | libc::EINTR | libc::ENOMEM);
        assert!(!goes_round, "errno {} to a SETUPMAPPING: a Linux guest would ask for ever", reply.errno);
        if reply.errno != 0 && !reply.by_mapper {
            self.may_be_lost(stage, nodeid, reply.errno);
        }
        reply.errno
    }

    /// REMOVEMAPPING; its errno.
    pub(crate) fn remove(&mut self, stage: &mut Stage, entries: &[(u64, u64)]) -> i32 {
        let mut body = Body::default().words(&[u32::try_from(entries.len()).unwrap()]);
        for (offset, length) in entries {
            body = body.longs(&[*offset, *length]);
        }
        let means = match entries {
            [(_, u64::MAX)] => Request::RemoveAll,
            [one] => Request::RemoveRange(*one),
            many => Request::RemoveRanges(many.to_vec()),
        };
        self.machine.ask(stage, Opcode::RemoveMapping, 0, &body, Some(&means)).errno
    }
}
