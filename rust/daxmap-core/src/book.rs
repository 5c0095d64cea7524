//! The book: what the window shows, ordered by window offset.

use crate::addr::{FileOffset, Span, WindowOffset};
use crate::sys::FileId;
use std::collections::BTreeMap;
use std::collections::btree_map::{Entry, OccupiedEntry};
use std::ops::Deref;

/// One live mapping: `[window_offset, +length)` of the window shows `[file_offset, +length)` of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The range of the window.
    pub span: Span,
    /// Where in the file the range starts.
    pub file_offset: FileOffset,
    /// Which file.
    pub file: FileId,
    /// Whether the guest may store to it.
    pub writable: bool,
}

impl Mapping {
    /// The part of the mapping in `span`, which lies inside it.
    pub(crate) fn part(&self, span: Span) -> Self {
        let skipped = span.start().0.wrapping_sub(self.span.start().0); // not before the mapping's start
        // The mapper has checked that the whole range ends below 2**63 in the file.
        Self { span, file_offset: FileOffset(self.file_offset.0.wrapping_add(skipped)), ..*self }
    }
}

/// What a cut did to the book.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Entries that are gone.
    pub(crate) gone: u64,
    /// Entries that there are more, since a cut in the middle makes two of one.
    pub(crate) split: u64,
    /// Bytes that are shown no more.
    pub(crate) bytes: u64,
}

/// What lies in a span: mostly nothing or one mapping, and then without an allocation.
#[derive(Debug)]
pub(crate) enum Found {
    AtMostOne(Option<Mapping>),
    Many(Vec<Mapping>),
}

impl Deref for Found {
    type Target = [Mapping];

    fn deref(&self) -> &[Mapping] {
        match self {
            Self::AtMostOne(found) => found.as_slice(),
            Self::Many(found) => found,
        }
    }
}

/// Live mappings that never overlap.
#[derive(Debug, Default)]
pub(crate) struct Book {
    by_start: BTreeMap<u64, Mapping>,
}

impl Book {
    pub(crate) fn len(&self) -> usize {
        self.by_start.len()
    }

    /// The last mapping that shares a byte with `span`: found by looking at the neighbour of its end, in O(log n).
    pub(crate) fn overlap(&self, span: Span) -> Option<&Mapping> {
        let (_, last_before_end) = self.by_start.range(..span.end().0).next_back()?;
        (last_before_end.span.end() > span.start()).then_some(last_before_end)
    }

    /// All mappings that share a byte with `span`, by rising window offset.
    pub(crate) fn overlapping(&self, span: Span) -> Found {
        let last = self.overlap(span).copied();
        if last.is_none_or(|last| last.span.start() <= span.start()) {
            return Found::AtMostOne(last);
        }
        let falling = self.by_start.range(..span.end().0).rev().map(|(_, mapping)| *mapping);
        let mut found: Vec<_> = falling.take_while(|mapping| mapping.span.end() > span.start()).collect();
        found.reverse();
        Found::Many(found)
    }

    /// The mapping that starts at `offset`.
    pub(crate) fn starting_at(&self, offset: WindowOffset) -> Option<&Mapping> {
        self.by_start.get(&offset.0)
    }

    /// The mapping that starts at `offset`, for taking it out.
    pub(crate) fn entry(&mut self, offset: WindowOffset) -> Option<OccupiedEntry<'_, u64, Mapping>> {
        match self.by_start.entry(offset.0) {
            Entry::Occupied(entry) => Some(entry),
            Entry::Vacant(_) => None,
        }
    }

    /// The mapping that holds the byte at `offset`.
    pub(crate) fn at(&self, offset: WindowOffset) -> Option<&Mapping> {
        let (_, mapping) = self.by_start.range(..=offset.0).next_back()?;
        (mapping.span.end() > offset).then_some(mapping)
    }

    /// Adds a mapping that overlaps none, or replaces the one of the same range.
    pub(crate) fn put(&mut self, mapping: Mapping) {
        self.by_start.insert(mapping.span.start().0, mapping);
    }

    /// Takes the mapping that starts at `offset` out.
    pub(crate) fn remove(&mut self, offset: WindowOffset) {
        self.by_start.remove(&offset.0);
    }

    /// Takes `span` out of every mapping that lies in it, wholly or in part.
    pub(crate) fn cut(&mut self, span: Span) -> Cut {
        let mut cut = Cut::default();
        while let Some(mapping) = self.overlap(span).copied() {
            self.by_start.remove(&mapping.span.start().0);
            let mut pieces = 0_u64;
            let mut left = 0_u64;
            for piece in mapping.span.without(span) {
                self.put(mapping.part(piece));
                pieces = pieces.saturating_add(1);
                left = left.saturating_add(piece.length());
            }
            cut.bytes = cut.bytes.saturating_add(mapping.span.length().saturating_sub(left));
            match pieces {
                0 => cut.gone = cut.gone.saturating_add(1),
                more => cut.split = cut.split.saturating_add(more.saturating_sub(1)),
            }
        }
        cut
    }

    /// All mappings by rising window offset.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Mapping> {
        self.by_start.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::check;

    fn mapping(start: u64, length: u64) -> Mapping {
        Mapping {
            span: span(start, length),
            file_offset: FileOffset(1000 + start),
            file: FileId { dev: 1, ino: 2 },
            writable: false,
        }
    }

    fn span(start: u64, length: u64) -> Span {
        Span::new(WindowOffset(start), length).unwrap()
    }

    fn book() -> Book {
        let mut book = Book::default();
        book.put(mapping(10, 10));
        book.put(mapping(30, 10));
        book
    }

    #[test]
    fn overlap_sees_every_shared_byte_and_no_other() {
        for (start, length, hits) in [
            (0, 10, vec![]),
            (0, 11, vec![10]),
            (19, 1, vec![10]),
            (20, 10, vec![]),
            (20, 15, vec![30]),
            (12, 2, vec![10]),
            (5, 100, vec![10, 30]),
            (40, 1, vec![]),
        ] {
            let found: Vec<_> = book().overlapping(span(start, length)).iter().map(|m| m.span.start().0).collect();
            assert_eq!(found, hits, "[{start}, +{length})");
            let last = book().overlap(span(start, length)).map(|m| m.span.start().0);
            assert_eq!(last, hits.last().copied(), "[{start}, +{length})");
        }
    }

    #[test]
    fn at_knows_the_edges() {
        for (offset, owner) in [(9, None), (10, Some(10)), (19, Some(10)), (20, None), (31, Some(30))] {
            assert_eq!(book().at(WindowOffset(offset)).map(|m| m.span.start().0), owner, "at {offset}");
        }
    }

    #[test]
    fn a_cut_leaves_pieces_that_show_what_they_showed() {
        for (start, length, left, expected) in [
            (10, 10, vec![(30, 10)], (1, 0, 10)),
            (0, 100, vec![], (2, 0, 20)),
            (12, 3, vec![(10, 2), (15, 5), (30, 10)], (0, 1, 3)),
            (15, 20, vec![(10, 5), (35, 5)], (0, 0, 10)),
            (5, 30, vec![(35, 5)], (1, 0, 15)),
            (20, 10, vec![(10, 10), (30, 10)], (0, 0, 0)),
        ] {
            let mut book = book();
            let cut = book.cut(span(start, length));
            assert_eq!((cut.gone, cut.split, cut.bytes), expected, "[{start}, +{length})");
            let mappings: Vec<_> = book.iter().copied().collect();
            assert_eq!(mappings, left.iter().map(|(start, length)| mapping(*start, *length)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn books_are_their_models() {
        let live = |start, end, file_offset| {
            let file_offset = FileOffset(file_offset);
            Mapping { span: span(start, end - start), file_offset, ..mapping(0, 1) }
        };
        let filled = |mappings: &[Mapping]| {
            let mut book = Book::default();
            for mapping in mappings {
                book.put(*mapping);
            }
            book
        };
        let three = |[a, b, c, d, e, f]: [u64; 6]| filled(&[live(a, b, 0), live(c, d, 0), live(e, f, 0)]);
        let words = |found: &[Mapping]| {
            found.iter().flat_map(|mapping| [mapping.span.start().0, mapping.span.end().0]).collect::<Vec<_>>()
        };
        check("book_overlap", |[a, b, c, d, e, f, start, end]| {
            words(three([a, b, c, d, e, f]).overlap(span(start, end - start)).copied().as_slice())
        });
        check("book_overlapping", |[a, b, c, d, e, f, start, end]| {
            words(&three([a, b, c, d, e, f]).overlapping(span(start, end - start)))
        });
        check("book_at", |[a, b, c, d, e, f, offset]| {
            words(three([a, b, c, d, e, f]).at(WindowOffset(offset)).copied().as_slice())
        });
        let whole = |mapping: &Mapping| [mapping.span.start().0, mapping.span.end().0, mapping.file_offset.0];
        check("mapping_part", |[a, b, file_offset, start, end]| {
            whole(&live(a, b, file_offset).part(span(start, end - start)))
        });
        check("book_cut", |[a, b, file_offset, start, end]| {
            let mut book = filled(&[live(a, b, file_offset)]);
            book.cut(span(start, end - start));
            book.iter().flat_map(whole).collect::<Vec<_>>()
        });
    }
}
