//! Keeps a guest from filling the VMM's disk with log records.

use std::time::{Duration, Instant};

/// Records let through at once.
const BURST: u32 = 10;
/// How often one more is let through after that.
const REFILL: Duration = Duration::from_secs(1);

/// A token bucket: [`BURST`] records, then one per [`REFILL`].
#[derive(Debug)]
pub(crate) struct Limiter {
    tokens: u32,
    refilled: Instant,
    suppressed: u64,
}

impl Limiter {
    pub(crate) fn new(now: Instant) -> Self {
        Self { tokens: BURST, refilled: now, suppressed: 0 }
    }

    /// Whether a record may be written now: `Some` of how many were held back since the last one that was.
    pub(crate) fn admit(&mut self, now: Instant) -> Option<u64> {
        while self.tokens < BURST && now.saturating_duration_since(self.refilled) >= REFILL {
            self.tokens = self.tokens.saturating_add(1);
            self.refilled = self.refilled.checked_add(REFILL).unwrap_or(now);
        }
        if self.tokens == BURST {
            self.refilled = now;
        }
        if self.tokens == 0 {
            self.suppressed = self.suppressed.saturating_add(1);
            return None;
        }
        self.tokens = self.tokens.saturating_sub(1);
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_to_a_burst_and_then_a_trickle() {
        let start = Instant::now();
        let mut limiter = Limiter::new(start);
        let admitted = (0..1000).filter(|_| limiter.admit(start).is_some()).count();
        assert_eq!(admitted, BURST as usize);
        assert_eq!(limiter.admit(start + REFILL), Some(990));
        assert_eq!(limiter.admit(start + REFILL), None);
        assert_eq!(limiter.admit(start + REFILL * 2), Some(1));
        let later = start + REFILL * 1000;
        assert_eq!((0..1000).filter(|_| limiter.admit(later).is_some()).count(), BURST as usize);
    }
}
