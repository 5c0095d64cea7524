"""File offsets, and files' lengths in whole pages."""

from collections.abc import Iterator

from z3 import UGE, ULE, ULT, And, BitVecRef, BoolRef, If, Not

from proof.lemmas import Claim, lemma
from proof.models import model
from proof.spans import PAGES, Page
from proof.words import FILE_END, checked_add, checked_next_multiple_of, is_multiple, u64, wide, word


@model
def whole_pages(length: BitVecRef, page: Page) -> BitVecRef:
    """In rust/daxmap-core/src/mapper/setup.rs: whole_pages"""
    up = checked_next_multiple_of(length, page.size)
    return If(up.some, up.value, length)


@model
def fits_in_file(offset: BitVecRef, length: BitVecRef) -> BoolRef:
    """In rust/daxmap-core/src/mapper/setup.rs: fits_in_file"""
    end = checked_add(offset, length)
    return And(end.some, ULE(end.value, FILE_END))


@lemma
def a_length_is_rounded_up_to_pages_or_refused() -> Iterator[Claim]:
    """Up to the top of the 64 bits, it is the least multiple that is not below it. Where that would be 2**64 it stays
    as it is, which is not aligned, and no request for it is granted.

    In rust/daxmap-core/src/mapper/setup.rs: whole_pages
    """
    length = u64("length")
    for page in PAGES:
        whole = whole_pages(length, Page(word(page)))
        rounded = And(is_multiple(whole, page), UGE(whole, length), ULT(wide(whole), wide(length) + page))
        refused = And(whole == length, Not(is_multiple(length, page)))
        yield Claim(If(ULE(wide(length), 2**64 - page), rounded, refused))


@lemma
def a_range_of_a_file_ends_at_the_largest_offset_at_most() -> Iterator[Claim]:
    """Offset and length of a request, be they what they may, are granted just if their sum, as integers, is one of
    off_t.

    In rust/daxmap-core/src/mapper/setup.rs: fits_in_file
    """
    offset, length = u64("offset"), u64("length")
    yield Claim(fits_in_file(offset, length) == ULE(wide(offset) + wide(length), FILE_END))
