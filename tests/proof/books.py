"""The book of mappings: three of them, which is as many as it takes to have a first, a last and others."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from z3 import UGT, ULE, ULT, And, BitVecRef, BoolRef, If, Not, Or

from proof.lemmas import Claim, lemma
from proof.models import model
from proof.spans import Span, is_span, span, span_intersection, span_new, span_overlaps, span_without
from proof.words import FILE_END, Option, u64, wide, word


class Book(NamedTuple):
    first: Span
    second: Span
    third: Span


class Overlapped(NamedTuple):
    """A range, and mappings each of which shares a byte with it."""

    book: Book
    asked: Span


class Mapping(NamedTuple):
    span: Span
    file_offset: BitVecRef


def book() -> tuple[BoolRef, Book]:
    """Any three ranges, and that they are in order and disjoint."""
    shown = Book(span("first"), span("second"), span("third"))
    return And(
        is_span(*shown), ULE(shown.first.end, shown.second.start), ULE(shown.second.end, shown.third.start)
    ), shown


def mapping() -> tuple[BoolRef, Mapping]:
    """Any mapping, by start and length, and that the mapper granted it: its end in the file is below 2**63."""
    start, length, file_offset = u64("start"), u64("length"), u64("file_offset")
    granted = And(span_new(start, length).some, ULE(wide(file_offset) + wide(length), FILE_END))
    return granted, Mapping(Span(start, start + length), file_offset)


def _last(shown: Book, where: Callable[[Span], BoolRef]) -> Option[Span]:
    """The last mapping for which that holds: the search of an ordered map, where it holds up to one of them."""
    found = Option(where(shown.first), shown.first)
    for later in (shown.second, shown.third):
        start, end = found.value
        reached = where(later)
        found = Option(Or(found.some, reached), Span(If(reached, later.start, start), If(reached, later.end, end)))
    return found


@model
def book_overlap(shown: Book, asked: Span) -> Option[Span]:
    """In rust/daxmap-core/src/book.rs: Book::overlap"""
    last = _last(shown, lambda live: ULT(live.start, asked.end))
    return Option(And(last.some, UGT(last.value.end, asked.start)), last.value)


@model
def book_at(shown: Book, offset: BitVecRef) -> Option[Span]:
    """In rust/daxmap-core/src/book.rs: Book::at"""
    last = _last(shown, lambda live: ULE(live.start, offset))
    return Option(And(last.some, UGT(last.value.end, offset)), last.value)


@model
def book_overlapping(shown: Book, asked: Span) -> tuple[Option[Span], ...]:
    """In rust/daxmap-core/src/book.rs: Book::overlapping"""
    last = book_overlap(shown, asked)
    alone = ULE(last.value.start, asked.start)
    found = []
    going = last.some
    for live in reversed(shown):
        is_last = live.start == last.value.start
        in_reach = ULT(live.start, asked.end)
        going = And(going, Or(Not(in_reach), UGT(live.end, asked.start)))
        found.append(Option(And(going, in_reach, Or(is_last, Not(alone))), live))
    return tuple(reversed(found))


@model
def mapping_part(shown: Mapping, part: Span) -> Mapping:
    """In rust/daxmap-core/src/book.rs: Mapping::part"""
    return Mapping(part, shown.file_offset + (part.start - shown.span.start))


@model
def book_cut(shown: Mapping, cut: Span) -> tuple[Option[Mapping], ...]:
    """What is in the book afterwards.

    In rust/daxmap-core/src/book.rs: Book::cut
    """
    return tuple(Option(left.some, mapping_part(shown, left.value)) for left in span_without(shown.span, cut))


@model
def pieces_left(overlapped: Overlapped) -> BitVecRef:
    """In rust/daxmap-core/src/mapper/change.rs: pieces_left"""
    old, asked = overlapped
    before, after = ULT(old.first.start, asked.start), UGT(old.third.end, asked.end)
    return If(before, word(1), word(0)) + If(after, word(1), word(0))


@lemma
def one_neighbour_tells_whether_anything_overlaps() -> Iterator[Claim]:
    """The last mapping that starts before the end of a range shares a byte with it if any mapping does, and is then
    the last that does: as a look at each of them finds.

    In rust/daxmap-core/src/book.rs: Book::overlap
    """
    in_order, shown = book()
    asked = span("asked")
    found = book_overlap(shown, asked)
    overlaps = [span_overlaps(live, asked) for live in shown]
    given = And(in_order, is_span(asked))
    yield Claim(given=given, then=found.some == Or(*overlaps))
    for index, live in enumerate(shown):
        is_last = And(overlaps[index], *(Not(later) for later in overlaps[index + 1 :]))
        yield Claim(given=And(given, is_last), then=And(found.value.start == live.start, found.value.end == live.end))


@lemma
def a_look_from_the_last_one_down_finds_all_that_overlap() -> Iterator[Claim]:
    """Of the mappings, just those that share a byte with a range are found, though the search ends at the first one
    that does not, and at the last one where that reaches to the start of the range.

    In rust/daxmap-core/src/book.rs: Book::overlapping
    """
    in_order, shown = book()
    asked = span("asked")
    for live, found in zip(shown, book_overlapping(shown, asked), strict=True):
        yield Claim(given=And(in_order, is_span(asked)), then=found.some == span_overlaps(live, asked))


@lemma
def a_byte_is_found_in_the_mapping_that_holds_it() -> Iterator[Claim]:
    """A mapping is found for an offset if one holds it, and it is that one.

    In rust/daxmap-core/src/book.rs: Book::at
    """
    in_order, shown = book()
    offset = u64("offset")
    found = book_at(shown, offset)
    yield Claim(given=in_order, then=found.some == Or(*(live.holds(offset) for live in shown)))
    yield Claim(given=And(in_order, found.some), then=found.value.holds(offset))


@lemma
def a_cut_leaves_all_but_the_hole() -> Iterator[Claim]:
    """Each byte of a mapping that is cut is in just one of three: the piece before, the piece after, and what is cut
    out of it. No other byte is in any of them.

    In rust/daxmap-core/src/book.rs: Book::cut
    In rust/daxmap-core/src/addr.rs: Span::without, Span::intersection
    """
    whole, cut, offset = span("whole"), span("cut"), u64("offset")
    left = (*span_without(whole, cut), span_intersection(whole, cut))
    before, after, hole = (And(piece.some, piece.value.holds(offset)) for piece in left)
    given = is_span(whole, cut)
    yield Claim(given=And(given, whole.holds(offset)), then=Or(before, after, hole))
    for one, others in ((before, Or(after, hole)), (after, Or(before, hole)), (hole, Or(before, after))):
        yield Claim(given=And(given, one), then=And(whole.holds(offset), Not(others)))


@lemma
def a_part_shows_what_it_showed() -> Iterator[Claim]:
    """A part of a mapping, as a cut leaves it, has the same file offset minus window offset, so that each byte shows
    the byte of the file that it showed; and no file offset wraps, or passes the largest one.

    The part is given by the bytes before it and its length: z3 has trouble with the ends of both.

    In rust/daxmap-core/src/book.rs: Mapping::part
    """
    granted, shown = mapping()
    (start, end), file_offset = shown
    skipped, left = u64("skipped"), u64("left")
    part = mapping_part(shown, Span(start + skipped, start + skipped + left))
    given = And(granted, ULE(wide(skipped) + wide(left), wide(end - start)))
    yield Claim(given=given, then=part.file_offset - part.span.start == file_offset - start)
    yield Claim(given=given, then=wide(part.file_offset) == wide(file_offset) + wide(skipped))
    yield Claim(given=given, then=ULE(wide(part.file_offset) + wide(left), FILE_END))


@lemma
def the_first_and_the_last_alone_reach_out_of_a_range() -> Iterator[Claim]:
    """As many pieces are left of three mappings that share bytes with a range as are charged for before it is cut out.

    In rust/daxmap-core/src/mapper/change.rs: pieces_left
    """
    in_order, shown = book()
    asked = span("asked")
    overlap = And(*(span_overlaps(live, asked) for live in shown))
    pieces = [If(piece.some, word(1), word(0)) for live in shown for piece in span_without(live, asked)]
    charged = pieces_left(Overlapped(shown, asked))
    yield Claim(given=And(in_order, is_span(asked), overlap), then=sum(pieces, word(0)) == charged)
