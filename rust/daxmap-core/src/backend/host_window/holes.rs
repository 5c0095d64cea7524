//! Which kind of hole each [`DAX_RANGE`] of a window has, so that neighbouring holes don't merge.
//!
//! A Linux guest maps and unmaps whole ranges of that size. Where a hole merges with its neighbours, the kernel splits
//! the result again at the next mapping: a third of the cost of a pair. Holes of two kinds never merge, so odd ranges get
//! the other kind. Their price is that each range's hole stays a VMA of its own.

use crate::addr::{DAX_RANGE, Span, WindowOffset};
use crate::sys::HoleKind;

/// The kind of each range's holes. All holes of one range are of one kind: so a window has at most one VMA a range and
/// two a mapping, whatever a guest does.
#[derive(Debug)]
pub(super) struct Holes {
    distinct: Vec<bool>,
    size: u64,
}

impl Holes {
    /// How many ranges a window of `size` bytes has.
    pub(super) fn count(size: u64) -> u64 {
        size.div_ceil(DAX_RANGE)
    }

    /// A window whose holes are all plain.
    pub(super) fn new(size: u64) -> Self {
        let count = usize::try_from(Self::count(size)).unwrap_or(0);
        Self { distinct: vec![false; count], size }
    }

    /// The ranges whose holes are to be distinct.
    pub(super) fn odd(&self) -> impl Iterator<Item = Span> + use<> {
        let size = self.size;
        (1..Self::count(size)).step_by(2).filter_map(move |range| range_span(range, size))
    }

    /// The kind of hole to put at `span`.
    pub(super) fn kind(&self, span: Span) -> HoleKind {
        let (first, last) = ranges_of(span);
        let distinct = if first != last {
            false
        } else if Some(span) == range_span(first, self.size) {
            !first.is_multiple_of(2)
        } else {
            self.is_distinct(first)
        };
        if distinct { HoleKind::Distinct } else { HoleKind::Plain }
    }

    /// Notes that `span` is a hole now, of the kind that [`Self::kind`] said. What is returned has to be made distinct
    /// again: the parts of `span` in ranges whose other holes are.
    pub(super) fn cleared(&mut self, span: Span, kind: HoleKind) -> [Option<Span>; 2] {
        let (first, last) = ranges_of(span);
        let mut mixed = [None, None];
        for range in first..=last {
            let Some(whole) = range_span(range, self.size) else { continue };
            let part = whole.intersection(span);
            let Some(distinct) = usize::try_from(range).ok().and_then(|range| self.distinct.get_mut(range)) else {
                continue;
            };
            if part == Some(whole) {
                *distinct = kind == HoleKind::Distinct;
            } else if *distinct && kind == HoleKind::Plain {
                mixed[usize::from(range != first)] = part; // only the first and the last range are covered in part
            }
        }
        mixed
    }

    fn is_distinct(&self, range: u64) -> bool {
        usize::try_from(range).ok().and_then(|range| self.distinct.get(range)).copied().unwrap_or(false)
    }
}

/// The first and the last range that `span` touches.
fn ranges_of(span: Span) -> (u64, u64) {
    (span.start().0 / DAX_RANGE, span.end().0.saturating_sub(1) / DAX_RANGE)
}

/// A whole range; the last one ends with the window.
fn range_span(range: u64, size: u64) -> Option<Span> {
    let start = range.checked_mul(DAX_RANGE)?;
    Span::new(WindowOffset(start), size.checked_sub(start)?.min(DAX_RANGE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: u64, length: u64) -> Span {
        Span::new(WindowOffset(start), length).unwrap()
    }

    fn laid(size: u64) -> Holes {
        let mut holes = Holes::new(size);
        for odd in holes.odd() {
            assert_eq!(holes.cleared(odd, HoleKind::Distinct), [None, None]);
        }
        holes
    }

    #[test]
    fn holes_of_neighbouring_ranges_differ() {
        let holes = laid(4 * DAX_RANGE + 4096);
        let kinds: Vec<_> = (0..5).map(|range| holes.kind(range_span(range, holes.size).unwrap())).collect();
        assert_eq!(kinds, [HoleKind::Plain, HoleKind::Distinct, HoleKind::Plain, HoleKind::Distinct, HoleKind::Plain]);
        assert_eq!(
            holes.kind(span(DAX_RANGE + 4096, 4096)),
            HoleKind::Distinct,
            "a part of a range is as the rest of it"
        );
    }

    #[test]
    fn many_ranges_at_once_become_plain() {
        let mut holes = laid(4 * DAX_RANGE);
        assert_eq!(holes.cleared(span(0, 4 * DAX_RANGE), HoleKind::Plain), [None, None]);
        assert_eq!(holes.kind(span(DAX_RANGE + 4096, 4096)), HoleKind::Plain);
        assert_eq!(holes.kind(span(DAX_RANGE, DAX_RANGE)), HoleKind::Distinct, "until the range is used again");
    }

    #[test]
    fn no_range_is_left_with_two_kinds() {
        let mut holes = laid(6 * DAX_RANGE);
        let ends = span(DAX_RANGE + 4096, 2 * DAX_RANGE); // parts of ranges 1 and 3, and all of 2
        assert_eq!(holes.kind(ends), HoleKind::Plain);
        let mixed = holes.cleared(ends, HoleKind::Plain);
        assert_eq!(mixed, [Some(span(DAX_RANGE + 4096, DAX_RANGE - 4096)), Some(span(3 * DAX_RANGE, 4096))]);
        let mixed = holes.cleared(span(4096, DAX_RANGE), HoleKind::Plain);
        assert_eq!(mixed, [None, Some(span(DAX_RANGE, 4096))]);
    }
}
