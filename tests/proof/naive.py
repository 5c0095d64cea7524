"""Arithmetic that looks right and is not: for each, z3 finds words for which it goes wrong."""

from collections.abc import Iterator

from z3 import UGE, ULE, ULT, And, Extract, ZeroExt

from proof.lemmas import Claim, fallacy
from proof.spans import DAX_RANGE
from proof.words import most, u64, word

GIB = 1 << 30


@fallacy
def a_base_aligned_down_lies_above_ram() -> Iterator[Claim]:
    """`max(4 GiB, ram_end & ~(2 MiB - 1))` is below the end of RAM wherever that is above 4 GiB, and not aligned: the
    window lies over RAM. `dax_window_base` aligns up: see a_window_begins_above_ram.
    """
    ram_end = u64("ram_end")
    base = most(word(4 * GIB), ram_end & ~word(DAX_RANGE - 1))
    yield Claim(given=ULE(ram_end, 64 * GIB), then=UGE(base, ram_end))


@fallacy
def a_base_aligned_up_without_a_check_lies_above_ram() -> Iterator[Claim]:
    """`(ram_end + 2 MiB - 1) & ~(2 MiB - 1)` wraps to 0 in the last 2 MiB below 2**64."""
    ram_end = u64("ram_end")
    base = (ram_end + (DAX_RANGE - 1)) & ~word(DAX_RANGE - 1)
    yield Claim(UGE(base, ram_end))


@fallacy
def a_sum_below_the_size_is_in_the_window() -> Iterator[Claim]:
    """`offset + length <= size` lets a range through whose sum wraps. `Span::new` adds with a check: see
    a_request_stays_in_its_window.
    """
    offset, length, size = u64("offset"), u64("length"), u64("size")
    given = And(ULE(offset + length, size), size == DAX_RANGE, length != 0)
    yield Claim(given=given, then=ULT(offset, size))


@fallacy
def a_product_of_32_bits_tells_the_length_of_a_batch() -> Iterator[Claim]:
    """`4 + 16 * count == length`, in 32 bits and with no bound on the count, lets a body of 4 bytes claim 2**28
    entries. The bound comes first: see a_batch_is_as_long_as_its_count_says.
    """
    count, length = Extract(31, 0, u64("count")), Extract(31, 0, u64("length"))
    given = And(4 + 16 * count == length, count != 0)
    yield Claim(given=given, then=UGE(ZeroExt(32, length), 16 * ZeroExt(32, count)))
