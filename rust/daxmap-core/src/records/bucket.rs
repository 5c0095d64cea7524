//! Keeps a guest from filling the VMM's disk with log records.

use super::{BURST, LOG_TARGET, printable};
use crate::sync::{Mutex, PoisonError};
use std::fmt;
use std::time::{Duration, Instant};

/// How often one record more is let through after the first [`BURST`].
const REFILL: Duration = Duration::from_secs(1);

/// A token bucket: [`BURST`] records, then one per [`REFILL`].
#[derive(Debug)]
struct Limiter {
    tokens: u32,
    refilled: Instant,
    suppressed: u64,
}

impl Limiter {
    fn new(now: Instant) -> Self {
        Self { tokens: BURST, refilled: now, suppressed: 0 }
    }

    /// Whether a record may be written now: `Some` of how many were held back since the last one that was.
    fn admit(&mut self, now: Instant) -> Option<u64> {
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

/// Warnings that a guest can cause: ten at once, then one a second.
///
/// # Examples
/// ```
/// use daxmap_core::Warnings;
///
/// let warnings = Warnings::new();
/// let guest_wrote = "no such file: a\nb";
/// for _ in 0..10 {
///     let text = warnings.admit(format_args!("{guest_wrote}"));
///     assert_eq!(text.as_deref(), Some(r"no such file: a\nb"), "one line, whatever the guest wrote");
/// }
/// assert_eq!(warnings.admit(format_args!("{guest_wrote}")), None, "for a second there were enough");
/// ```
#[derive(Debug)]
pub struct Warnings {
    limiter: Mutex<Limiter>,
    /// The last one, for those who have no log to look at.
    last: Mutex<Option<(Instant, String)>>,
}

impl Warnings {
    /// The last warning that was not held back, and when it came.
    #[must_use]
    pub fn last(&self) -> Option<(Instant, String)> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// None held back so far.
    #[must_use]
    pub fn new() -> Self {
        Self { limiter: Mutex::new(Limiter::new(Instant::now())), last: Mutex::new(None) }
    }

    /// Logs a warning, unless there were too many.
    pub fn warn(&self, text: fmt::Arguments<'_>) {
        if let Some(text) = self.admit(text) {
            log::warn!(target: LOG_TARGET, "{text}");
        }
    }

    /// The text of a warning that may be logged now; none if there were too many.
    #[must_use]
    pub fn admit(&self, text: fmt::Arguments<'_>) -> Option<String> {
        let now = Instant::now();
        let held_back = self.limiter.lock().unwrap_or_else(PoisonError::into_inner).admit(now)?;
        let text = printable(&text.to_string());
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, text.clone()));
        Some(if held_back == 0 { text } else { format!("{text} ({held_back} earlier warnings held back)") })
    }
}

impl Default for Warnings {
    fn default() -> Self {
        Self::new()
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
