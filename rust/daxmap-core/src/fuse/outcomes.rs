//! How a guest fares.

use super::errno::GuestErrno;
use crate::stats::ErrnoCounts;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How a share's SETUPMAPPING requests ended since the last INIT. From any thread, without a lock.
#[derive(Debug, Default)]
pub struct Outcomes {
    mapped: AtomicU64,
    refused: ErrnoCounts,
}

impl Outcomes {
    /// Counts a request: done, or the errno that the guest was told.
    pub fn count(&self, result: Result<(), GuestErrno>) {
        match result {
            Ok(()) => _ = self.mapped.fetch_add(1, Relaxed),
            Err(errno) => self.refused.count(errno.number()),
        }
    }

    /// Starts anew, as the guest does.
    pub fn clear(&self) {
        self.mapped.store(0, Relaxed);
        self.refused.clear();
    }

    /// Those that succeeded, upgrades included.
    #[must_use]
    pub fn mapped(&self) -> u64 {
        self.mapped.load(Relaxed)
    }

    /// The others by Linux errno, rising, without those that never were.
    #[must_use]
    pub fn refused(&self) -> Vec<(i32, u64)> {
        self.refused.nonzero()
    }
}
