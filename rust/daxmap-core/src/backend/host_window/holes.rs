//! Which kind of hole each [`DAX_RANGE`] of a window has, so that neighbouring holes don't merge.
//!
//! A Linux guest maps and unmaps whole ranges of that size. Where a hole merges with its neighbours, the kernel splits
//! the result again at the next mapping: a third of the cost of a pair. Holes of two kinds never merge, so odd ranges get
//! the other kind. Its price is that such a hole is a VMA of its own, and the hole beside it another one. So they are made
//! when a range beside them is used, and only while the process has VMAs to spare.

use crate::addr::{DAX_RANGE, Span, WindowOffset};
use crate::budget::Budget;
use crate::sys::HoleKind;

/// A window's holes are no more VMAs than a quarter of those that are left to the process.
const SHARE_OF_BUDGET: u64 = 4;

/// What a range with distinct holes may cost: its hole is a VMA, and what was one hole on both sides of it is two.
const VMAS_PER_RANGE: u64 = 2;

/// The kind of each range's holes. All holes of one range are of one kind: so a window has at most [`Self::vmas`] and two
/// a mapping, whatever a guest does.
#[derive(Debug)]
pub(super) struct Holes {
    /// The ranges whose holes are distinct: odd ones only.
    distinct: Vec<bool>,
    distinct_count: u64,
    /// The ranges in which something may be mapped.
    used: Vec<bool>,
    size: u64,
}

impl Holes {
    /// A window that is one plain hole.
    pub(super) fn new(size: u64) -> Self {
        // Zeros cost nothing before they are written, so a large window is as cheap as a small one.
        let count = usize::try_from(size.div_ceil(DAX_RANGE)).unwrap_or(0);
        Self { distinct: vec![false; count], distinct_count: 0, used: vec![false; count], size }
    }

    /// How many VMAs the holes of the window are at most, while nothing is mapped.
    pub(super) fn vmas(&self) -> u64 {
        self.distinct_count.saturating_mul(VMAS_PER_RANGE).saturating_add(1)
    }

    /// The kind of hole to put at `span`.
    pub(super) fn kind(&self, span: Span) -> HoleKind {
        let (first, last) = ranges_of(span);
        let becomes_distinct =
            || !first.is_multiple_of(2) && range_span(first, self.size) == Some(span) && self.may_grow();
        if first == last && (is_set(&self.distinct, first) || becomes_distinct()) {
            HoleKind::Distinct
        } else {
            HoleKind::Plain
        }
    }

    /// Notes that something is mapped at `span` now.
    pub(super) fn placed(&mut self, span: Span) {
        let (first, last) = ranges_of(span);
        for range in first..=last {
            set(&mut self.used, range, true);
        }
    }

    /// Notes that `span` is a hole now, of the kind that [`Self::kind`] said. What is returned has to be made distinct:
    /// the parts of `span` in ranges whose other holes are, and the ranges beside it with which it would merge.
    pub(super) fn cleared(&mut self, span: Span, kind: HoleKind) -> [Option<Span>; 2] {
        let (first, last) = ranges_of(span);
        if range_span(first, self.size) == Some(span) {
            self.emptied(first, kind);
            return if first.is_multiple_of(2) {
                [first.checked_sub(1), first.checked_add(1)].map(|beside| self.set_apart(beside?))
            } else {
                [None, None]
            };
        }
        let mut mixed = [None, None];
        for range in first..=last {
            let Some(whole) = range_span(range, self.size) else { continue };
            let part = whole.intersection(span);
            if part == Some(whole) {
                self.emptied(range, kind);
            } else if is_set(&self.distinct, range) && kind == HoleKind::Plain {
                mixed[usize::from(range != first)] = part; // only the first and the last range are covered in part
            }
        }
        mixed
    }

    /// Makes an odd range that is one plain hole distinct, if there are VMAs to spare: then it is returned.
    fn set_apart(&mut self, range: u64) -> Option<Span> {
        if is_set(&self.distinct, range) || is_set(&self.used, range) || !self.may_grow() {
            return None;
        }
        let whole = range_span(range, self.size)?;
        self.set_distinct(range, true);
        Some(whole)
    }

    /// Notes that all of a range is one hole.
    fn emptied(&mut self, range: u64, kind: HoleKind) {
        set(&mut self.used, range, false);
        self.set_distinct(range, kind == HoleKind::Distinct);
    }

    fn set_distinct(&mut self, range: u64, distinct: bool) {
        if is_set(&self.distinct, range) == distinct {
            return;
        }
        set(&mut self.distinct, range, distinct);
        self.distinct_count =
            if distinct { self.distinct_count.saturating_add(1) } else { self.distinct_count.saturating_sub(1) };
    }

    /// Whether one more range may be distinct.
    fn may_grow(&self) -> bool {
        let grown = self.vmas().saturating_add(VMAS_PER_RANGE);
        grown <= Budget::of_process().left() / SHARE_OF_BUDGET
    }
}

fn is_set(ranges: &[bool], range: u64) -> bool {
    usize::try_from(range).ok().and_then(|range| ranges.get(range)).copied().unwrap_or(false)
}

fn set(ranges: &mut [bool], range: u64, value: bool) {
    if let Some(old) = usize::try_from(range).ok().and_then(|range| ranges.get_mut(range)) {
        *old = value;
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
    use crate::vectors::check;

    const WINDOW: u64 = 1 << 36;

    fn span(start: u64, length: u64) -> Span {
        Span::new(WindowOffset(start), length).unwrap()
    }

    fn range(number: u64) -> Span {
        range_span(number, WINDOW).unwrap()
    }

    /// Has a guest use a range and give it back.
    fn cycle(holes: &mut Holes, span: Span) -> (HoleKind, [Option<Span>; 2]) {
        holes.placed(span);
        let kind = holes.kind(span);
        (kind, holes.cleared(span, kind))
    }

    #[test]
    fn a_window_costs_nothing_until_it_is_used() {
        assert_eq!(Holes::new(WINDOW).vmas(), 1);
    }

    #[test]
    fn ranges_that_are_used_have_other_holes_than_their_neighbours() {
        let mut holes = Holes::new(WINDOW);
        assert_eq!(cycle(&mut holes, range(7)), (HoleKind::Distinct, [None, None]));
        assert_eq!(cycle(&mut holes, range(6)), (HoleKind::Plain, [Some(range(5)), None]));
        assert_eq!(cycle(&mut holes, range(0)), (HoleKind::Plain, [None, Some(range(1))]));
        assert_eq!(cycle(&mut holes, range(6)), (HoleKind::Plain, [None, None]), "its neighbours are distinct now");
        assert_eq!(holes.vmas(), 7);
    }

    #[test]
    fn a_range_that_is_in_use_is_left_alone() {
        let mut holes = Holes::new(WINDOW);
        holes.placed(span(DAX_RANGE + 4096, 4096));
        assert_eq!(cycle(&mut holes, range(2)), (HoleKind::Plain, [None, Some(range(3))]));
    }

    #[test]
    fn the_last_range_may_be_short() {
        let size = 2 * DAX_RANGE + 4096;
        let mut holes = Holes::new(size);
        let last = range_span(2, size).unwrap();
        assert_eq!(cycle(&mut holes, last), (HoleKind::Plain, [Some(range(1)), None]));
        assert_eq!(cycle(&mut Holes::new(DAX_RANGE + 4096), span(DAX_RANGE, 4096)).0, HoleKind::Distinct);
    }

    #[test]
    fn many_ranges_at_once_become_plain() {
        let mut holes = Holes::new(4 * DAX_RANGE);
        cycle(&mut holes, range(1));
        assert_eq!(holes.kind(span(DAX_RANGE + 4096, 4096)), HoleKind::Distinct, "a part is as the rest of its range");
        assert_eq!(cycle(&mut holes, span(0, 4 * DAX_RANGE)), (HoleKind::Plain, [None, None]));
        assert_eq!((holes.kind(span(DAX_RANGE + 4096, 4096)), holes.vmas()), (HoleKind::Plain, 1));
    }

    #[test]
    fn no_range_is_left_with_two_kinds() {
        let mut holes = Holes::new(6 * DAX_RANGE);
        cycle(&mut holes, range(1));
        cycle(&mut holes, range(3));
        let ends = span(DAX_RANGE + 4096, 2 * DAX_RANGE); // parts of ranges 1 and 3, and all of 2
        let parts = [Some(span(DAX_RANGE + 4096, DAX_RANGE - 4096)), Some(span(3 * DAX_RANGE, 4096))];
        assert_eq!(cycle(&mut holes, ends), (HoleKind::Plain, parts));
        assert_eq!(cycle(&mut holes, span(4096, DAX_RANGE)).1, [None, Some(span(DAX_RANGE, 4096))]);
    }

    #[test]
    fn holes_take_a_quarter_of_the_vmas_that_are_left() {
        let mut holes = Holes::new(WINDOW);
        for number in 0..WINDOW / DAX_RANGE {
            cycle(&mut holes, range(number));
        }
        let most = Budget::of_process().limit() / 4;
        let by_others = 64; // tests that run beside this one have charged some
        assert!(holes.vmas() <= most && holes.vmas() > most - by_others, "{} of {most}", holes.vmas());
        assert_eq!(cycle(&mut holes, range(9)).0, HoleKind::Distinct, "what is distinct stays so");
    }

    #[test]
    fn ranges_are_their_models() {
        check("holes_ranges_of", |[start, end]| <[u64; 2]>::from(ranges_of(span(start, end - start))));
        check("holes_range_span", |[range, size]| {
            range_span(range, size).into_iter().flat_map(|span| [span.start().0, span.end().0])
        });
    }
}
