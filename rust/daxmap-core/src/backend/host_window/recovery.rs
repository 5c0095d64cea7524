//! What an `mmap` left that failed, found out and mended.
//!
//! With `MAP_FIXED`, the kernel may refuse before it touched anything, or after it removed what was there. In the second
//! case the addresses are free for every thread's next `mmap`, so they are taken back at once, if nobody was quicker.

use super::region::Region;
use crate::addr::{Span, WindowOffset};
use crate::backend::Failure;
use crate::book::Mapping;
use crate::refusal::Refusal;
use crate::sys::{Seen, Shown, compare};
use std::ops::Range;

impl Region {
    /// Finds out what a failed `mmap` over `span` left, where `old` was shown and else holes, and makes it a hole if it is
    /// nothing at all.
    pub(super) fn recover(&mut self, span: Span, cause: Refusal, old: &[Mapping]) -> Failure {
        let Ok(range) = self.range(span) else { return Failure::Unchanged(cause) };
        let kind = self.holes.kind(span);
        if self.reservation.refill(span.start().0, range.len(), kind).is_ok() {
            return self.even_out(span, kind).err().unwrap_or_else(|| {
                if old.is_empty() {
                    Failure::Unchanged(cause)
                } else {
                    Failure::Lost { cause, gone: vec![span], new_is_unknown: false }
                }
            });
        }
        if compare(self.expectation(span, old)) == Seen::AsExpected {
            return Failure::Unchanged(cause);
        }
        self.out_of_control.push(span);
        Failure::OutOfControl(cause)
    }

    /// What `span` shows while it holds `old`, wholly or in part: these, and holes between them.
    fn expectation(&self, span: Span, old: &[Mapping]) -> Vec<(Range<usize>, Shown)> {
        let base = self.address();
        // A span lies in the reservation, whose addresses are usize: neither cast nor addition loses anything.
        #[allow(clippy::cast_possible_truncation)]
        let at = |offset: WindowOffset| base.wrapping_add(offset.0 as usize);
        let mut expected = Vec::with_capacity(old.len().saturating_mul(2).saturating_add(1));
        let mut covered = at(span.start());
        for part in old.iter().filter_map(|mapping| Some(mapping.part(mapping.span.intersection(span)?))) {
            expected.push((covered..at(part.span.start()), Shown::Hole));
            covered = at(part.span.end());
            expected.push((at(part.span.start())..covered, Shown::from(&part)));
        }
        expected.push((covered..at(span.end()), Shown::Hole));
        expected
    }
}
