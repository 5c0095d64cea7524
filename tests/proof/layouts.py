"""Where windows lie above RAM. Python's integers don't wrap, so the models have room for their sums."""

from collections.abc import Iterator
from typing import NamedTuple

from z3 import UGE, ULE, ULT, And, BitVec, BitVecRef, Extract, UDiv, ZeroExt

from proof.lemmas import Claim, lemma
from proof.models import model
from proof.spans import DAX_RANGE, PAGES, Page
from proof.windows import window_new
from proof.words import U64_MAX, Option, is_multiple, u64, wide, word


class Wanted(NamedTuple):
    """RAM, the sizes of three shares, and how many physical address bits the guest has."""

    ram_base: BitVecRef
    ram_size: BitVecRef
    first: BitVecRef
    second: BitVecRef
    third: BitVecRef
    phys_bits: BitVecRef


class Placed(NamedTuple):
    """Base and size of a window."""

    base: BitVecRef
    size: BitVecRef


@model
def dax_window_base(ram_base: BitVecRef, ram_size: BitVecRef) -> Option[BitVecRef]:
    """In python/daxmap/layout.py: dax_window_base"""
    end = wide(ram_base) + wide(ram_size)
    base = UDiv(end + (DAX_RANGE - 1), DAX_RANGE) * DAX_RANGE
    return Option(ULE(base, U64_MAX), Extract(63, 0, base))


def place(start: BitVecRef, size: BitVecRef, phys_bits: BitVecRef) -> tuple[Option[Placed], BitVecRef]:
    """A window at an address, if it ends within the physical address bits; and its end. Addresses are `wide`."""
    end = start + wide(size)
    return Option(ULE(end, wide(word(1)) << wide(phys_bits)), Placed(Extract(63, 0, start), size)), end


@model
def window_layout(asked: Wanted) -> Option[tuple[Placed, ...]]:
    """In python/daxmap/layout.py: WindowLayout, _check_end"""
    base = dax_window_base(asked.ram_base, asked.ram_size)
    start, placed = wide(base.value), []
    for size in (asked.first, asked.second, asked.third):
        window, start = place(start, size, asked.phys_bits)
        placed.append(window)
    return Option(And(base.some, *(window.some for window in placed)), tuple(window.value for window in placed))


@lemma
def a_window_begins_above_ram() -> Iterator[Claim]:
    """The base is the first multiple of 2 MiB that is not below the end of RAM, as integers. It is refused where that
    multiple is 2**64 or more: nothing wraps to low addresses.

    In python/daxmap/layout.py: dax_window_base
    """
    ram_base, ram_size = u64("ram_base"), u64("ram_size")
    end = wide(ram_base) + wide(ram_size)
    found = dax_window_base(ram_base, ram_size)
    base = wide(found.value)
    lies_above = And(is_multiple(found.value, DAX_RANGE), UGE(base, end), ULT(base, end + DAX_RANGE))
    yield Claim(given=found.some, then=lies_above)
    yield Claim(found.some == ULE(end, 2**64 - DAX_RANGE))


@lemma
def windows_of_a_layout_are_disjoint_and_in_order() -> Iterator[Claim]:
    """A window placed at a multiple of 2 MiB begins there, ends in the guest's physical address bits, and is one that
    a mapper takes, with pages of any size; and it ends at a multiple of 2 MiB above, which is where the next one is
    placed.

    In python/daxmap/layout.py: WindowLayout, _check_end
    In rust/daxmap-core/src/window.rs: Window::of_pages
    """
    # The end of a window may be 2**64, where no other one fits: one bit more than a word.
    start, size, phys_bits = ZeroExt(7, BitVec("start", 65)), u64("size"), u64("phys_bits")
    window, end = place(start, size, phys_bits)
    taken = And(size != 0, is_multiple(size, DAX_RANGE), ULE(1, phys_bits), ULE(phys_bits, 64))
    given = And(taken, is_multiple(start, DAX_RANGE), window.some)
    placed = window.value
    yield Claim(given=given, then=And(wide(placed.base) == start, start + wide(placed.size) == end))
    yield Claim(given=given, then=And(ULT(start, end), ULE(end, wide(word(1)) << wide(phys_bits))))
    yield Claim(given=given, then=And(is_multiple(end, DAX_RANGE), ULE(end, 2**64)))
    for page in PAGES:
        yield Claim(given=given, then=window_new(placed.base, placed.size, Page(word(page))).some)
