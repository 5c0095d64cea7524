"""Removals: what a batch of them takes away by one call."""

from collections.abc import Iterator

from z3 import ULE, And, Implies, Not, Or

from proof.lemmas import Claim, lemma
from proof.models import model
from proof.spans import Span, is_span, span, span_hull, span_new, span_overlaps
from proof.words import Option, checked_sub, u64


@model
def removal_gap(before: Span, after: Span) -> Option[Span]:
    """In rust/daxmap-core/src/mapper/remove.rs: gap"""
    length = checked_sub(after.start, before.end)
    made = span_new(before.end, length.value)
    return Option(And(length.some, made.some), made.value)


@lemma
def a_run_takes_away_just_its_entries() -> Iterator[Claim]:
    """A run that takes one more entry in, which starts where it does or later and has no mapping between: of the bytes
    that are mapped, those in the new hull are those in the old one and those in the entry. So the bytes that a run
    takes away are those of its entries, however many there are; and the hull starts where it did, so that the next
    entry is in order too.

    In rust/daxmap-core/src/mapper/remove.rs: Run::reaches, Run::push, gap
    """
    run, entry, live, offset = span("run"), span("entry"), span("live"), u64("offset")
    gap = removal_gap(run, entry)
    nothing_between = Implies(gap.some, Not(span_overlaps(live, gap.value)))
    given = And(is_span(run, entry, live), ULE(run.start, entry.start), nothing_between)
    hull = span_hull(run, entry)
    taken = Or(run.holds(offset), entry.holds(offset))
    yield Claim(given=And(given, live.holds(offset)), then=hull.holds(offset) == taken)
    yield Claim(given=given, then=hull.start == run.start)
