"""Ranges of window offsets."""

from collections.abc import Iterator
from typing import NamedTuple

from z3 import UGE, UGT, ULE, ULT, And, BitVecRef, BoolRef, If, Implies, Not, Or

from proof.lemmas import Claim, lemma
from proof.models import model
from proof.words import (
    U64_MAX,
    Option,
    checked_add,
    checked_next_multiple_of,
    is_multiple,
    least,
    most,
    u64,
    wide,
    word,
)

PAGES = (1 << 12, 1 << 14, 1 << 16)
DAX_RANGE = 2 << 20


class Span(NamedTuple):
    start: BitVecRef
    end: BitVecRef

    def holds(self, offset: BitVecRef) -> BoolRef:
        return And(ULE(self.start, offset), ULT(offset, self.end))


class Page(NamedTuple):
    """A size of pages: a power of two."""

    size: BitVecRef


def span(name: str) -> Span:
    """Any two words; `is_span` says whether they are a range."""
    return Span(u64(f"{name}_start"), u64(f"{name}_end"))


def is_span(*spans: Span) -> BoolRef:
    return And(*(ULT(start, end) for start, end in spans))


@model
def span_new(start: BitVecRef, length: BitVecRef) -> Option[Span]:
    """In rust/daxmap-core/src/addr.rs: Span::new"""
    end = checked_add(start, length)
    return Option(And(end.some, UGT(end.value, start)), Span(start, end.value))


@model
def span_overlaps(one: Span, other: Span) -> BoolRef:
    """In rust/daxmap-core/src/addr.rs: Span::overlaps"""
    return And(ULT(one.start, other.end), ULT(other.start, one.end))


@model
def span_contains(one: Span, other: Span) -> BoolRef:
    """In rust/daxmap-core/src/addr.rs: Span::contains"""
    return And(ULE(one.start, other.start), ULE(other.end, one.end))


@model
def span_hull(one: Span, other: Span) -> Span:
    """In rust/daxmap-core/src/addr.rs: Span::hull"""
    return Span(least(one.start, other.start), most(one.end, other.end))


@model
def span_intersection(one: Span, other: Span) -> Option[Span]:
    """In rust/daxmap-core/src/addr.rs: Span::intersection"""
    both = Span(most(one.start, other.start), least(one.end, other.end))
    return Option(is_span(both), both)


@model
def span_without(whole: Span, cut: Span) -> tuple[Option[Span], Option[Span]]:
    """In rust/daxmap-core/src/addr.rs: Span::without"""
    before = Span(whole.start, least(whole.end, cut.start))
    after = Span(most(whole.start, cut.end), whole.end)
    return Option(is_span(before), before), Option(is_span(after), after)


@model
def span_cut_at_multiples(whole: Span, page: Page) -> tuple[Option[Span], ...]:
    """The first three parts.

    In rust/daxmap-core/src/addr.rs: Span::cut_at_multiples
    """
    parts = []
    rest = Option(is_span(whole), whole)
    for _ in range(3):
        start, end = rest.value
        after = checked_add(start, word(1))
        up = checked_next_multiple_of(after.value, page.size)
        cut = If(And(after.some, up.some), least(up.value, end), end)
        parts.append(Option(rest.some, Span(start, cut)))
        rest = Option(And(rest.some, ULT(cut, end)), Span(cut, end))
    return tuple(parts)


@lemma
def a_range_never_wraps() -> Iterator[Claim]:
    """A range has just the length that was asked for, and its end is a sum of integers. What is empty or wraps is
    refused.

    In rust/daxmap-core/src/addr.rs: Span::new, Span::length
    """
    start, length = u64("start"), u64("length")
    made = span_new(start, length)
    yield Claim(given=made.some, then=And(is_span(made.value), made.value.end - start == length))
    yield Claim(given=made.some, then=wide(made.value.end) == wide(start) + wide(length))
    yield Claim(made.some == And(length != 0, ULE(wide(start) + wide(length), U64_MAX)))


@lemma
def ranges_overlap_where_they_share_an_offset() -> Iterator[Claim]:
    """An offset in two ranges is in their intersection, and they overlap; where they overlap, there is such an offset.

    In rust/daxmap-core/src/addr.rs: Span::overlaps, Span::intersection
    """
    one, other, offset = span("one"), span("other"), u64("offset")
    both = span_intersection(one, other)
    shared = And(one.holds(offset), other.holds(offset))
    yield Claim(given=is_span(one, other), then=shared == And(both.some, both.value.holds(offset)))
    yield Claim(given=is_span(one, other), then=span_overlaps(one, other) == both.some)


@lemma
def a_range_holds_another_if_it_holds_each_offset() -> Iterator[Claim]:
    """A range that contains another holds each of its offsets, and one that does not lacks the first of them or the
    last.

    In rust/daxmap-core/src/addr.rs: Span::contains
    """
    one, other, offset = span("one"), span("other"), u64("offset")
    contains = span_contains(one, other)
    yield Claim(given=And(is_span(one, other), contains, other.holds(offset)), then=one.holds(offset))
    missing = Or(Not(one.holds(other.start)), Not(one.holds(other.end - 1)))
    yield Claim(given=And(is_span(one, other), Not(contains)), then=missing)


@lemma
def parts_between_multiples_lie_in_one_unit_each() -> Iterator[Claim]:
    """Of a range cut at the multiples of a page, or of 2 MiB, the first part lies in one such unit, and ends where
    that or the range does; the rest starts there. So the parts are the range, however many there are.

    In rust/daxmap-core/src/addr.rs: Span::cut_at_multiples
    """
    whole = span("whole")
    for unit in (*PAGES, DAX_RANGE):
        first, second, _ = span_cut_at_multiples(whole, Page(word(unit)))
        start, cut = first.value
        within = (start & ~word(unit - 1)) == ((cut - 1) & ~word(unit - 1))
        yield Claim(given=is_span(whole), then=And(first.some, is_span(first.value), within, start == whole.start))
        yield Claim(given=is_span(whole), then=If(second.some, is_multiple(cut, unit), cut == whole.end))
        yield Claim(
            given=is_span(whole), then=Implies(second.some, And(second.value.start == cut, UGE(whole.end, cut)))
        )
