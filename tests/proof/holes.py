"""The ranges of 2 MiB of a window, each of which has one kind of hole."""

from collections.abc import Iterator

from z3 import ULE, ULT, And, BitVecRef, UDiv

from proof.lemmas import Claim, lemma
from proof.models import model
from proof.spans import DAX_RANGE, Span, is_span, span
from proof.words import Option, checked_sub, least, saturating_sub, u64, wide, word


@model
def holes_ranges_of(shown: Span) -> tuple[BitVecRef, BitVecRef]:
    """In rust/daxmap-core/src/backend/host_window/holes.rs: ranges_of"""
    return UDiv(shown.start, word(DAX_RANGE)), UDiv(saturating_sub(shown.end, word(1)), word(DAX_RANGE))


@model
def holes_range_span(number: BitVecRef, size: BitVecRef) -> Option[Span]:
    """In rust/daxmap-core/src/backend/host_window/holes.rs: range_span"""
    start = number * DAX_RANGE
    fits = ULE(number, (2**64 - 1) // DAX_RANGE)
    left = checked_sub(size, start)
    length = least(left.value, word(DAX_RANGE))
    return Option(And(fits, left.some, length != 0), Span(start, start + length))


@lemma
def each_byte_lies_in_one_range_of_its_window() -> Iterator[Claim]:
    """A byte of a window lies in the range of its number, which is there; that range starts at a multiple of 2 MiB,
    ends in the window, and is not longer. So the vector of ranges, as long as the window has any, has a place for
    each.

    In rust/daxmap-core/src/backend/host_window/holes.rs: range_span, Holes::new
    """
    offset, size = u64("offset"), u64("size")
    number = UDiv(offset, word(DAX_RANGE))
    found = holes_range_span(number, size)
    given = ULT(offset, size)
    yield Claim(given=given, then=And(found.some, found.value.holds(offset)))
    yield Claim(given=given, then=And(ULE(found.value.end, size), ULE(found.value.end - found.value.start, DAX_RANGE)))
    count = UDiv(wide(size) + (DAX_RANGE - 1), DAX_RANGE)
    yield Claim(given=given, then=ULT(wide(number), count))


@lemma
def a_span_touches_the_ranges_from_its_first_to_its_last() -> Iterator[Claim]:
    """A byte of a span lies in a range from the first to the last; and the span has a byte in the first, and in the
    last.

    In rust/daxmap-core/src/backend/host_window/holes.rs: ranges_of
    """
    shown, offset = span("shown"), u64("offset")
    first, last = holes_ranges_of(shown)
    number = UDiv(offset, word(DAX_RANGE))
    yield Claim(given=And(is_span(shown), shown.holds(offset)), then=And(ULE(first, number), ULE(number, last)))
    ends = And(first == UDiv(shown.start, DAX_RANGE), last == UDiv(shown.end - 1, DAX_RANGE), ULE(first, last))
    yield Claim(given=is_span(shown), then=ends)
