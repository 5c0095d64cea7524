//! How many of the process's memory mappings (VMAs) guests may cause.
//!
//! A process has at most `vm.max_map_count` VMAs (65,530 by default; Linux, Documentation/admin-guide/sysctl/vm.rst).
//! A guest that maps every other page of its window makes two of each: a mapping and the hole beside it. Were it let
//! have them all, the VMM's own `malloc` would fail.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Linux's default of `vm.max_map_count`, taken where the file cannot be read.
const DEFAULT_MAX_MAP_COUNT: u64 = 65_530;

/// A number of VMAs, shared by all who charge it.
#[derive(Debug)]
pub struct Budget {
    limit: u64,
    used: AtomicU64,
}

impl Budget {
    /// A budget of `limit` VMAs.
    #[must_use]
    pub const fn new(limit: u64) -> Self {
        Self { limit, used: AtomicU64::new(0) }
    }

    /// The process's: half of `vm.max_map_count`, as it was at the first call.
    pub fn of_process() -> &'static Self {
        static PROCESS: OnceLock<Budget> = OnceLock::new();
        PROCESS.get_or_init(|| {
            let max_map_count = std::fs::read_to_string("/proc/sys/vm/max_map_count")
                .ok()
                .and_then(|text| text.trim().parse().ok())
                .unwrap_or(DEFAULT_MAX_MAP_COUNT);
            Self::new(max_map_count / 2)
        })
    }

    /// The most VMAs that may be charged.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// VMAs charged now.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// VMAs that may still be charged.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.limit.saturating_sub(self.used())
    }

    /// Charges `vmas`, or nothing and `false` where they don't fit.
    pub(crate) fn try_charge(&self, vmas: u64) -> bool {
        let fits = |used: u64| used.checked_add(vmas).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(Relaxed, Relaxed, fits).is_ok()
    }

    /// Charges `vmas` even past the limit: for mappers whose VMM chose a limit of its own.
    pub(crate) fn charge_regardless(&self, vmas: u64) {
        self.used.fetch_add(vmas, Relaxed);
    }

    /// Gives back what was charged.
    pub(crate) fn give_back(&self, vmas: u64) {
        self.used.fetch_sub(vmas, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charges_up_to_the_limit_and_not_past_it() {
        let budget = Budget::new(4);
        assert!(budget.try_charge(3));
        assert!(!budget.try_charge(2));
        assert!(budget.try_charge(1));
        budget.charge_regardless(5);
        assert!(!budget.try_charge(1));
        budget.give_back(6);
        assert_eq!(budget.used(), 3);
        assert!(!budget.try_charge(u64::MAX));
    }
}
