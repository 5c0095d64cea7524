"""What a hostile guest can write into a request, and into a descriptor of a queue."""

from collections.abc import Iterator
from typing import NamedTuple

from z3 import ULE, And, BitVecRef, BoolRef, Extract, Not, UDiv, URem

from proof.lemmas import Claim, lemma
from proof.models import model
from proof.words import checked_add, checked_sub, u64, wide, word

MOST_REMOVALS = 4096
LONGEST_BODY = 4 + 16 * MOST_REMOVALS


class Removal(NamedTuple):
    """The count of a REMOVEMAPPING, of which 32 bits are on the wire, and the length of its body."""

    count: BitVecRef
    length: BitVecRef


@model
def removal_has_its_entries(removal: Removal) -> BoolRef:
    """In rust/daxmap-core/src/fuse/request.rs: removal"""
    count, length = removal
    entries = checked_sub(length, word(4))
    words, odd_bytes = UDiv(entries.value, 8), URem(entries.value, 8)
    pairs, odd_word = UDiv(words, 2), URem(words, 2)
    counted = And(count != 0, ULE(count, MOST_REMOVALS))
    return And(entries.some, counted, odd_bytes == 0, odd_word == 0, pairs == count)


@model
def buffer_in_ram(first: BitVecRef, size: BitVecRef, start: BitVecRef, length: BitVecRef) -> BoolRef:
    """In rust/daxmap-vhost-user/src/buffers.rs: Buffers::in_ram"""
    inside = checked_sub(start, first)
    left = checked_sub(size, inside.value)
    return And(inside.some, left.some, ULE(length, left.value))


@lemma
def a_batch_is_as_long_as_its_count_says() -> Iterator[Claim]:
    """A removal is taken just if it has 1 to 4096 entries of 16 bytes after its count, as integers. So the product
    never wraps, not even in 32 bits, and no body is longer than the longest that is read.

    In rust/daxmap-core/src/fuse/request.rs: removal
    """
    count, length = u64("count"), u64("length")
    taken = removal_has_its_entries(Removal(count, length))
    counted = And(ULE(1, wide(count)), ULE(wide(count), MOST_REMOVALS))
    yield Claim(taken == And(counted, wide(length) == 4 + 16 * wide(count)))
    narrow = 4 + 16 * Extract(31, 0, count)
    yield Claim(given=taken, then=And(ULE(length, LONGEST_BODY), narrow == Extract(31, 0, length)))


@lemma
def a_buffer_in_ram_ends_in_it() -> Iterator[Claim]:
    """A guest's buffer is taken for RAM if its bytes, as integers, lie in one region, and only then. An empty one may
    lie at its end. Where the buffer starts is given by how far it is above the start of the region, or below: z3 has
    trouble with both.

    In rust/daxmap-vhost-user/src/buffers.rs: Buffers::in_ram
    """
    first, size, beside, length = u64("first"), u64("size"), u64("beside"), u64("length")
    taken = buffer_in_ram(first, size, first + beside, length)
    inside = ULE(wide(beside) + wide(length), wide(size))
    yield Claim(given=checked_add(first, beside).some, then=taken == inside)
    below = buffer_in_ram(first, size, first - beside, length)
    yield Claim(given=And(beside != 0, ULE(beside, first)), then=Not(below))
