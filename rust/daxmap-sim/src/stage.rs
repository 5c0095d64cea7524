//! What all machines share: the disk, what fails in this step, and what was seen.

use crate::disk::Disk;
use crate::sys::failing::Plan;
use std::collections::BTreeMap;

/// How often each thing came.
pub(crate) type Counts = BTreeMap<String, u64>;

pub(crate) fn add(counts: &mut Counts, what: &str, times: u64) {
    match counts.get_mut(what) {
        Some(count) => *count += times,
        None if times == 0 => {}
        None => _ = counts.insert(what.to_owned(), times),
    }
}

#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) disk: Disk,
    /// What is left of this step's plan.
    pub(crate) plan: Plan,
    pub(crate) counts: Counts,
    /// What happened, a line each; empty unless somebody wants to read it.
    pub(crate) told: Vec<String>,
    tells: bool,
}

impl Stage {
    pub(crate) fn new(two_devices: bool, tells: bool) -> Self {
        Self { disk: Disk::new(two_devices), plan: Plan::default(), counts: Counts::new(), told: Vec::new(), tells }
    }

    pub(crate) fn count(&mut self, what: &str, times: u64) {
        add(&mut self.counts, what, times);
    }

    pub(crate) fn tell(&mut self, line: impl FnOnce() -> String) {
        if self.tells {
            self.told.push(line());
        }
    }
}
