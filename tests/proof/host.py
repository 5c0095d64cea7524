"""Host addresses: parts of what one mmap made."""

from collections.abc import Iterator
from typing import NamedTuple

from z3 import ULE, And, BitVecRef, BoolRef

from proof.lemmas import Claim, lemma
from proof.models import model
from proof.words import U64_MAX, Option, checked_add, least, u64, wide


class HostRange(NamedTuple):
    """Its first address and its length. One mmap made it, so it does not wrap."""

    start: BitVecRef
    length: BitVecRef


def host_range() -> tuple[BoolRef, HostRange]:
    made = HostRange(u64("start"), u64("length"))
    return ULE(wide(made.start) + wide(made.length), U64_MAX), made


@model
def host_range_part(made: HostRange, offset: BitVecRef, length: BitVecRef) -> Option[tuple[BitVecRef, BitVecRef]]:
    """In rust/daxmap-core/src/sys/range.rs: HostRange::part"""
    to = checked_add(offset, length)
    return Option(And(to.some, ULE(to.value, made.length)), (made.start + offset, made.start + to.value))


@model
def host_range_split(made: HostRange, offset: BitVecRef) -> tuple[HostRange, HostRange]:
    """In rust/daxmap-core/src/sys/range.rs: HostRange::split"""
    at = least(offset, made.length)
    return HostRange(made.start, at), HostRange(made.start + at, made.length - at)


@lemma
def a_part_of_host_memory_stays_in_it() -> Iterator[Claim]:
    """Offset and length, be they what they may, give addresses in the range, as integers, or EINVAL.

    In rust/daxmap-core/src/sys/range.rs: HostRange::part
    """
    owned, made = host_range()
    offset, length = u64("offset"), u64("part")
    part = host_range_part(made, offset, length)
    low, high = part.value
    yield Claim(given=owned, then=part.some == ULE(wide(offset) + wide(length), wide(made.length)))
    yield Claim(given=And(owned, part.some), then=wide(low) == wide(made.start) + wide(offset))
    yield Claim(given=And(owned, part.some), then=wide(high) == wide(low) + wide(length))


@lemma
def two_halves_are_the_whole() -> Iterator[Claim]:
    """Where host memory is split, the second half starts where the first one ends, and both are as long as it was.

    In rust/daxmap-core/src/sys/range.rs: HostRange::split
    """
    owned, made = host_range()
    before, after = host_range_split(made, u64("offset"))
    touch = And(before.start == made.start, wide(before.start) + wide(before.length) == wide(after.start))
    yield Claim(given=owned, then=And(touch, wide(before.length) + wide(after.length) == wide(made.length)))
