//! Which kind of hole each 2 MiB slot of a window has, so that neighbouring holes don't merge.
//!
//! A Linux guest maps and unmaps whole slots (`FUSE_DAX_SZ` of fs/fuse/dax.c). Where a hole merges with its neighbours,
//! the kernel splits the result again at the next mapping: a third of the cost of a pair. Holes of two kinds never
//! merge, so odd slots get the other kind. Their price is that each slot's hole stays a VMA of its own.

use crate::addr::{Span, WindowOffset};
use crate::sys::HoleKind;

/// Bytes of a slot.
const SLOT: u64 = 2 << 20;

/// The kind of each slot's holes. All holes of one slot are of one kind: so a window has at most one VMA a slot and two
/// a mapping, whatever a guest does.
#[derive(Debug)]
pub(super) struct Slots {
    distinct: Vec<bool>,
    size: u64,
}

impl Slots {
    /// How many slots a window of `size` bytes has.
    pub(super) fn count(size: u64) -> u64 {
        size.div_ceil(SLOT)
    }

    /// Slots of a window whose holes are all plain.
    pub(super) fn new(size: u64) -> Self {
        let count = usize::try_from(Self::count(size)).unwrap_or(0);
        Self { distinct: vec![false; count], size }
    }

    /// The slots whose holes are to be distinct.
    pub(super) fn odd(&self) -> impl Iterator<Item = Span> + use<> {
        let size = self.size;
        (1..Self::count(size)).step_by(2).filter_map(move |slot| slot_span(slot, size))
    }

    /// The kind of hole to put at `span`.
    pub(super) fn kind(&self, span: Span) -> HoleKind {
        let (first, last) = slots_of(span);
        let distinct = if first != last {
            false
        } else if Some(span) == slot_span(first, self.size) {
            !first.is_multiple_of(2)
        } else {
            self.is_distinct(first)
        };
        if distinct { HoleKind::Distinct } else { HoleKind::Plain }
    }

    /// Notes that `span` is a hole now, of the kind that [`Self::kind`] said. What is returned has to be made distinct
    /// again: the parts of `span` in slots whose other holes are.
    pub(super) fn cleared(&mut self, span: Span, kind: HoleKind) -> [Option<Span>; 2] {
        let (first, last) = slots_of(span);
        let mut mixed = [None, None];
        for slot in first..=last {
            let Some(whole) = slot_span(slot, self.size) else { continue };
            let part = whole.intersection(span);
            let Some(distinct) = usize::try_from(slot).ok().and_then(|slot| self.distinct.get_mut(slot)) else {
                continue;
            };
            if part == Some(whole) {
                *distinct = kind == HoleKind::Distinct;
            } else if *distinct && kind == HoleKind::Plain {
                mixed[usize::from(slot != first)] = part; // only the first and the last slot are covered in part
            }
        }
        mixed
    }

    fn is_distinct(&self, slot: u64) -> bool {
        usize::try_from(slot).ok().and_then(|slot| self.distinct.get(slot)).copied().unwrap_or(false)
    }
}

/// The first and the last slot that `span` touches.
fn slots_of(span: Span) -> (u64, u64) {
    (span.start().0 / SLOT, span.end().0.saturating_sub(1) / SLOT)
}

/// A whole slot; the last one ends with the window.
fn slot_span(slot: u64, size: u64) -> Option<Span> {
    let start = slot.checked_mul(SLOT)?;
    Span::new(WindowOffset(start), size.checked_sub(start)?.min(SLOT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: u64, length: u64) -> Span {
        Span::new(WindowOffset(start), length).unwrap()
    }

    fn laid(size: u64) -> Slots {
        let mut slots = Slots::new(size);
        for odd in slots.odd() {
            assert_eq!(slots.cleared(odd, HoleKind::Distinct), [None, None]);
        }
        slots
    }

    #[test]
    fn neighbouring_slots_differ() {
        let slots = laid(4 * SLOT + 4096);
        let kinds: Vec<_> = (0..5).map(|slot| slots.kind(slot_span(slot, slots.size).unwrap())).collect();
        assert_eq!(kinds, [HoleKind::Plain, HoleKind::Distinct, HoleKind::Plain, HoleKind::Distinct, HoleKind::Plain]);
        assert_eq!(slots.kind(span(SLOT + 4096, 4096)), HoleKind::Distinct, "a part of a slot is as the rest of it");
    }

    #[test]
    fn many_slots_at_once_become_plain() {
        let mut slots = laid(4 * SLOT);
        assert_eq!(slots.cleared(span(0, 4 * SLOT), HoleKind::Plain), [None, None]);
        assert_eq!(slots.kind(span(SLOT + 4096, 4096)), HoleKind::Plain);
        assert_eq!(slots.kind(span(SLOT, SLOT)), HoleKind::Distinct, "until the slot is used again");
    }

    #[test]
    fn no_slot_is_left_with_two_kinds() {
        let mut slots = laid(6 * SLOT);
        let ends = span(SLOT + 4096, 2 * SLOT); // of slots 1 and 3, and all of 2
        assert_eq!(slots.kind(ends), HoleKind::Plain);
        let mixed = slots.cleared(ends, HoleKind::Plain);
        assert_eq!(mixed, [Some(span(SLOT + 4096, SLOT - 4096)), Some(span(3 * SLOT, 4096))]);
        let mixed = slots.cleared(span(4096, SLOT), HoleKind::Plain);
        assert_eq!(mixed, [None, Some(span(SLOT, 4096))]);
    }
}
