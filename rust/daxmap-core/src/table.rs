//! The book: what the window shows, ordered by window offset.

use crate::addr::{FileOffset, Span, WindowOffset};
use crate::sys::FileId;
use std::collections::BTreeMap;
use std::collections::btree_map::{Entry, OccupiedEntry};

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

/// Live mappings that never overlap.
#[derive(Debug, Default)]
pub(crate) struct Table {
    by_start: BTreeMap<u64, Mapping>,
}

impl Table {
    pub(crate) fn len(&self) -> usize {
        self.by_start.len()
    }

    /// The mapping that shares a byte with `span`: found by looking at the neighbours of its end, in O(log n).
    pub(crate) fn overlap(&self, span: Span) -> Option<&Mapping> {
        let (_, last_before_end) = self.by_start.range(..span.end().0).next_back()?;
        (last_before_end.span.end() > span.start()).then_some(last_before_end)
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

    /// The first mapping that starts at `offset` or later.
    pub(crate) fn first_from(&self, offset: WindowOffset) -> Option<&Mapping> {
        self.by_start.range(offset.0..).next().map(|(_, mapping)| mapping)
    }

    /// Adds a mapping that overlaps none, or replaces the one of the same range.
    pub(crate) fn put(&mut self, mapping: Mapping) {
        self.by_start.insert(mapping.span.start().0, mapping);
    }

    pub(crate) fn remove(&mut self, offset: WindowOffset) -> Option<Mapping> {
        self.by_start.remove(&offset.0)
    }

    pub(crate) fn clear(&mut self) {
        self.by_start.clear();
    }

    /// All mappings by rising window offset.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Mapping> {
        self.by_start.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(start: u64, length: u64) -> Mapping {
        Mapping {
            span: Span::new(WindowOffset(start), length).unwrap(),
            file_offset: FileOffset(0),
            file: FileId { dev: 1, ino: 2 },
            writable: false,
        }
    }

    fn table() -> Table {
        let mut table = Table::default();
        table.put(mapping(10, 10));
        table.put(mapping(30, 10));
        table
    }

    #[test]
    fn overlap_sees_every_shared_byte_and_no_other() {
        for (start, length, hit) in [
            (0, 10, None),
            (0, 11, Some(10)),
            (19, 1, Some(10)),
            (20, 10, None),
            (12, 2, Some(10)),
            (5, 100, Some(30)),
            (40, 1, None),
        ] {
            let found = table().overlap(Span::new(WindowOffset(start), length).unwrap()).map(|m| m.span.start().0);
            assert_eq!(found, hit, "[{start}, +{length})");
        }
    }

    #[test]
    fn at_and_first_from_know_the_edges() {
        let table = table();
        for (offset, owner, next) in [
            (9, None, Some(10)),
            (10, Some(10), Some(10)),
            (19, Some(10), Some(30)),
            (20, None, Some(30)),
            (31, Some(30), None),
        ] {
            assert_eq!(table.at(WindowOffset(offset)).map(|m| m.span.start().0), owner, "at {offset}");
            assert_eq!(table.first_from(WindowOffset(offset)).map(|m| m.span.start().0), next, "from {offset}");
        }
    }
}
