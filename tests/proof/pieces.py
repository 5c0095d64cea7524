"""What a vhost-user front end is told to show: a part of a file, and a copy of the rest."""

from collections.abc import Iterator

from z3 import ULE, ULT, And, BitVecRef, BoolRef, BoolVal, Or, UDiv

from proof.books import Mapping, mapping
from proof.lemmas import Claim, lemma
from proof.models import model
from proof.spans import PAGES, Page
from proof.words import Option, is_multiple, least, saturating_add, saturating_sub, u64, wide, word

Piece = tuple[BitVecRef, BitVecRef, BoolRef]
"""Its start in the window, its length, and whether it is a copy."""


def divided(shown: Mapping, whole: BitVecRef) -> tuple[Option[Piece], Option[Piece]]:
    """So many bytes of the file, and a copy of the others."""
    start, length = shown.span.start, shown.span.end - shown.span.start
    rest = saturating_sub(length, whole)
    of_file = (start, whole, BoolVal(val=False))
    of_copy = (saturating_add(start, whole), rest, BoolVal(val=True))
    return Option(whole != 0, of_file), Option(rest != 0, of_copy)


def bytes_of_file(shown: Mapping, size: BitVecRef, page: BitVecRef) -> BitVecRef:
    # A quotient times its divisor does not wrap: the original's saturation changes nothing.
    pages = UDiv(saturating_sub(size, shown.file_offset), page) * page
    return least(pages, shown.span.end - shown.span.start)


@model
def shown_plan(shown: Mapping, size: BitVecRef, page: Page) -> tuple[Option[Piece], Option[Piece]]:
    """For a front end that maps no byte past the end of a file.

    In rust/daxmap-vhost-user/src/window/pieces.rs: Shown::plan
    """
    return divided(shown, bytes_of_file(shown, size, page.size))


@model
def file_offset_at(shown: Mapping, offset: BitVecRef) -> BitVecRef:
    """In rust/daxmap-vhost-user/src/window/pieces.rs: Shown::file_offset_at"""
    return saturating_add(shown.file_offset, saturating_sub(offset, shown.span.start))


@lemma
def a_file_and_a_copy_of_its_end_are_the_range() -> Iterator[Claim]:
    """The pieces follow one another from the start of a range to its end. That of the file consists of whole pages,
    none of which has a byte past the end of the file; what follows is a copy.

    In rust/daxmap-vhost-user/src/window/pieces.rs: Shown::plan
    """
    granted, shown = mapping()
    size, some = u64("size"), u64("some")
    length = shown.span.end - shown.span.start
    of_file, of_copy = divided(shown, some)
    start, whole, _ = of_file.value
    after, rest, _ = of_copy.value
    given = And(granted, ULE(some, length))
    yield Claim(given=given, then=And(start == shown.span.start, wide(start) + wide(whole) == wide(after)))
    yield Claim(given=given, then=And(whole + rest == length, ULE(rest, length)))
    for page in PAGES:
        whole = bytes_of_file(shown, size, word(page))
        in_file = Or(whole == 0, ULE(wide(shown.file_offset) + wide(whole), wide(size)))
        yield Claim(given=granted, then=ULE(whole, length))
        yield Claim(given=granted, then=in_file)
        yield Claim(given=And(granted, is_multiple(length, page)), then=is_multiple(whole, page))


@lemma
def each_byte_of_a_piece_is_its_byte_of_the_file() -> Iterator[Claim]:
    """Within a range that was granted, the place in the file of an offset is a sum of integers: nothing saturates.

    In rust/daxmap-vhost-user/src/window/pieces.rs: Shown::file_offset_at
    """
    granted, shown = mapping()
    inside = u64("inside")
    place = file_offset_at(shown, shown.span.start + inside)
    given = And(granted, ULT(inside, shown.span.end - shown.span.start))
    yield Claim(given=given, then=wide(place) == wide(shown.file_offset) + wide(inside))
