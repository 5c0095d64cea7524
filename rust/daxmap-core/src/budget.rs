//! How many of the process's memory mappings (VMAs) guests may cause.
//!
//! A process has at most `vm.max_map_count` VMAs (65,530 by default; Linux, Documentation/admin-guide/sysctl/vm.rst).
//! A guest that maps every other page of its window makes two of each: a mapping and the hole beside it. Were it let
//! have them all, the VMM's own `malloc` would fail.

use std::cmp::Ordering;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Linux's default of `vm.max_map_count`, taken where the file cannot be read.
const DEFAULT_MAX_MAP_COUNT: u64 = 65_530;

/// A number of VMAs, shared by all who charge it.
///
/// # Examples
/// ```
/// use daxmap_core::Budget;
///
/// let budget = Budget::of_process();
/// assert_eq!(budget.left(), budget.limit() - budget.used());
/// ```
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
}

/// What one window has charged to a budget. Given back when it is dropped.
#[derive(Debug)]
pub struct Charge {
    budget: &'static Budget,
    vmas: u64,
}

impl Charge {
    /// Nothing, so far, of the process's budget.
    pub(crate) fn of_process() -> Self {
        Self { budget: Budget::of_process(), vmas: 0 }
    }

    /// Nothing, so far, of a budget of a test's own.
    #[cfg(test)]
    pub(crate) fn of(budget: &'static Budget) -> Self {
        Self { budget, vmas: 0 }
    }

    /// The most that may be charged.
    pub(crate) fn limit(&self) -> u64 {
        self.budget.limit
    }

    /// Charges `vmas` more, or nothing and `false` where they don't fit.
    pub(crate) fn try_grow(&mut self, vmas: u64) -> bool {
        let fits = |used: u64| used.checked_add(vmas).filter(|sum| *sum <= self.budget.limit);
        let grown = self.budget.used.fetch_update(Relaxed, Relaxed, fits).is_ok();
        if grown {
            self.vmas = self.vmas.saturating_add(vmas);
        }
        grown
    }

    /// Charges `vmas` in all from now on, even past the limit.
    pub(crate) fn set(&mut self, vmas: u64) {
        match vmas.cmp(&self.vmas) {
            Ordering::Equal => return, // most calls: no look at memory that others write
            Ordering::Greater => self.budget.used.fetch_add(vmas.saturating_sub(self.vmas), Relaxed),
            Ordering::Less => self.budget.used.fetch_sub(self.vmas.saturating_sub(vmas), Relaxed),
        };
        self.vmas = vmas;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::check;

    #[test]
    fn charges_up_to_the_limit_and_not_past_it() {
        static BUDGET: Budget = Budget::new(4);
        let mut charge = Charge::of(&BUDGET);
        assert!(charge.try_grow(3));
        assert!(!charge.try_grow(2));
        assert!(charge.try_grow(1));
        let mut other = Charge::of(&BUDGET);
        other.set(5);
        assert!(!charge.try_grow(1));
        drop(other);
        assert_eq!((BUDGET.used(), BUDGET.left()), (4, 0));
        charge.set(3);
        assert_eq!(BUDGET.used(), 3);
        assert!(!charge.try_grow(u64::MAX));
        drop(charge);
        assert_eq!(BUDGET.used(), 0);
    }

    #[test]
    fn the_processs_budget_is_half_of_what_the_kernel_allows() {
        let max_map_count = std::fs::read_to_string("/proc/sys/vm/max_map_count").map(|text| text.trim().parse());
        let max_map_count: u64 = max_map_count.map_or(DEFAULT_MAX_MAP_COUNT, |number| number.unwrap());
        assert_eq!(Budget::of_process().limit(), max_map_count / 2);
        assert_eq!(Charge::of_process().limit(), max_map_count / 2);
    }

    #[test]
    fn charges_are_their_models() {
        let charge = |limit, used, vmas| {
            let budget: &'static Budget = Box::leak(Box::new(Budget { limit, used: AtomicU64::new(used) }));
            Charge { budget, vmas }
        };
        check("charge_try_grow", |[limit, used, more]| {
            let mut charge = charge(limit, used, 0);
            charge.try_grow(more).then(|| charge.budget.used())
        });
        check("charge_set", |[used, mine, wanted]| {
            let mut charge = charge(u64::MAX, used, mine);
            charge.set(wanted);
            [charge.budget.used()]
        });
    }
}
