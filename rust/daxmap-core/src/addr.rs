//! Addresses of three kinds that must never be mixed up, and a range that cannot wrap.

use std::fmt;

/// Offset of a byte in a share's DAX window, in bytes: `moffset` on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowOffset(pub u64);

/// Offset of a byte in a host file, in bytes: `foffset` on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileOffset(pub u64);

/// Guest physical address: an address as the guest's memory controller sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuestAddress(pub u64);

macro_rules! display_as_hex {
    ($($name:ty),+) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    )+};
}
display_as_hex!(WindowOffset, FileOffset, GuestAddress);

/// The unit in which a Linux guest maps and unmaps, in bytes: `FUSE_DAX_SZ` of fs/fuse/dax.c.
pub const DAX_RANGE: u64 = 2 << 20;

/// A non-empty range of window offsets whose end does not wrap.
///
/// # Examples
/// ```
/// use daxmap_core::{Span, WindowOffset};
///
/// let window = Span::new(WindowOffset(0), 0x4000).unwrap();
/// let cut = Span::new(WindowOffset(0x1000), 0x1000).unwrap();
/// assert!(window.contains(cut));
/// let left: Vec<String> = window.without(cut).map(|piece| piece.to_string()).collect();
/// assert_eq!(left, ["[0x0, 0x1000)", "[0x2000, 0x4000)"]);
/// assert_eq!(Span::new(WindowOffset(u64::MAX), 2), None, "it would wrap");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    start: u64,
    end: u64,
}

impl Span {
    /// `[start, start + length)`, or `None` where that is empty or wraps past 2**64.
    #[must_use]
    pub fn new(start: WindowOffset, length: u64) -> Option<Self> {
        let end = start.0.checked_add(length)?;
        (end > start.0).then_some(Self { start: start.0, end })
    }

    /// The smallest range that holds both.
    #[must_use]
    pub fn hull(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// Whether the two share an offset.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// The offsets in both, if there are any.
    #[must_use]
    pub fn intersection(self, other: Self) -> Option<Self> {
        let (start, end) = (self.start.max(other.start), self.end.min(other.end));
        (start < end).then_some(Self { start, end })
    }

    /// Whether all of `other` lies in it.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// What is left of it, before and after, when `cut` is taken out.
    pub fn without(self, cut: Self) -> impl Iterator<Item = Self> {
        let before = Self { start: self.start, end: self.end.min(cut.start) };
        let after = Self { start: self.start.max(cut.end), end: self.end };
        [before, after].into_iter().filter(|piece| piece.start < piece.end)
    }

    /// Its parts, cut at each multiple of `unit`.
    pub(crate) fn cut_at_multiples(self, unit: u64) -> impl Iterator<Item = Self> {
        let mut rest = Some(self);
        std::iter::from_fn(move || {
            let Self { start, end } = rest?;
            let next = start.checked_add(1).and_then(|after| after.checked_next_multiple_of(unit));
            let cut = next.map_or(end, |next| next.min(end));
            rest = (cut < end).then_some(Self { start: cut, end });
            Some(Self { start, end: cut })
        })
    }

    /// First offset of the range.
    #[must_use]
    pub fn start(self) -> WindowOffset {
        WindowOffset(self.start)
    }

    /// First offset past the range.
    #[must_use]
    pub fn end(self) -> WindowOffset {
        WindowOffset(self.end)
    }

    /// Length in bytes, never 0.
    #[must_use]
    pub fn length(self) -> u64 {
        self.end.wrapping_sub(self.start) // `new` made sure that end > start
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{:#x}, {:#x})", self.start, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::check;

    #[test]
    fn span_refuses_empty_and_wrapping_ranges() {
        assert_eq!(Span::new(WindowOffset(0), 0), None);
        assert_eq!(Span::new(WindowOffset(u64::MAX), 1), None);
        assert_eq!(Span::new(WindowOffset(1), u64::MAX), None);
        let last = Span::new(WindowOffset(u64::MAX - 1), 1).unwrap();
        assert_eq!((last.start().0, last.end().0, last.length()), (u64::MAX - 1, u64::MAX, 1));
    }

    #[test]
    fn without_leaves_what_the_cut_does_not_cover() {
        let whole = Span::new(WindowOffset(10), 10).unwrap();
        for (start, length, left) in [
            (10, 10, vec![]),
            (0, 50, vec![]),
            (12, 3, vec![(10, 2), (15, 5)]),
            (10, 1, vec![(11, 9)]),
            (19, 9, vec![(10, 9)]),
            (0, 10, vec![(10, 10)]),
            (20, 1, vec![(10, 10)]),
        ] {
            let cut = Span::new(WindowOffset(start), length).unwrap();
            let pieces: Vec<_> = whole.without(cut).map(|piece| (piece.start().0, piece.length())).collect();
            assert_eq!(pieces, left, "without {cut}");
            assert_eq!(whole.contains(cut), start >= 10 && start + length <= 20);
        }
    }

    #[test]
    fn parts_lie_on_their_grid() {
        let parts = |start: u64, length: u64| {
            let parts = Span::new(WindowOffset(start), length).unwrap().cut_at_multiples(DAX_RANGE);
            parts.map(|part| (part.start, part.length())).collect::<Vec<_>>()
        };
        assert_eq!(parts(0, DAX_RANGE), [(0, DAX_RANGE)]);
        assert_eq!(parts(DAX_RANGE - 1, 2), [(DAX_RANGE - 1, 1), (DAX_RANGE, 1)]);
        assert_eq!(parts(5, 2 * DAX_RANGE), [(5, DAX_RANGE - 5), (DAX_RANGE, DAX_RANGE), (2 * DAX_RANGE, 5)]);
        assert_eq!(parts(u64::MAX - 1, 1), [(u64::MAX - 1, 1)]);
    }

    #[test]
    fn hull_covers_both() {
        let (low, high) = (Span::new(WindowOffset(1), 2).unwrap(), Span::new(WindowOffset(7), 1).unwrap());
        assert_eq!(low.hull(high), Span::new(WindowOffset(1), 7).unwrap());
        assert_eq!(high.hull(low), low.hull(high));
    }

    #[test]
    fn spans_are_their_models() {
        let span = |start, end| Span { start, end };
        let words = |spans: Vec<Span>| spans.into_iter().flat_map(|span| [span.start, span.end]);
        let option = |span: Option<Span>| words(span.into_iter().collect());
        check("span_new", |[start, length]| option(Span::new(WindowOffset(start), length)));
        check("span_overlaps", |[a, b, c, d]| [u64::from(span(a, b).overlaps(span(c, d)))]);
        check("span_contains", |[a, b, c, d]| [u64::from(span(a, b).contains(span(c, d)))]);
        check("span_hull", |[a, b, c, d]| words(vec![span(a, b).hull(span(c, d))]));
        check("span_intersection", |[a, b, c, d]| option(span(a, b).intersection(span(c, d))));
        check("span_without", |[a, b, c, d]| words(span(a, b).without(span(c, d)).collect()));
        check("span_cut_at_multiples", |[a, b, page]| words(span(a, b).cut_at_multiples(page).take(3).collect()));
    }
}
