"""Windows: guest addresses and window offsets."""

from collections.abc import Iterator
from typing import NamedTuple

from z3 import UGT, ULE, ULT, And, BitVecRef, BoolRef, Not, Or, URem

from proof.lemmas import Claim, lemma
from proof.models import model
from proof.spans import PAGES, Page, Span, span_new
from proof.words import U64_MAX, Option, checked_add, checked_sub, is_multiple, u64, wide, word


class Window(NamedTuple):
    base: BitVecRef
    size: BitVecRef
    page: BitVecRef


def windows() -> Iterator[tuple[BoolRef, Window]]:
    """Any window that the constructor accepts, and that it does: one for each size of pages, since z3 divides badly."""
    for page in PAGES:
        made = window_new(u64("base"), u64("size"), Page(word(page)))
        yield made.some, made.value


@model
def window_new(base: BitVecRef, size: BitVecRef, page: Page) -> Option[Window]:
    """In rust/daxmap-core/src/window.rs: Window::of_pages"""
    aligned = And(is_multiple(base, page.size), is_multiple(size, page.size))
    return Option(And(aligned, size != 0, checked_add(base, size - 1).some), Window(base, size, page.size))


@model
def window_request(window: Window, offset: BitVecRef, length: BitVecRef) -> Option[Span]:
    """In rust/daxmap-core/src/window.rs: Window::request, Window::check_aligned"""
    aligned = And(is_multiple(offset, window.page), is_multiple(length, window.page))
    made = span_new(offset, length)
    return Option(And(aligned, length != 0, made.some, ULE(made.value.end, window.size)), made.value)


@model
def window_span_at(window: Window, address: BitVecRef, length: BitVecRef) -> Option[Span]:
    """In rust/daxmap-core/src/window.rs: Window::span_at"""
    offset = checked_sub(address, window.base)
    made = span_new(offset.value, length)
    return Option(And(offset.some, made.some, ULE(made.value.end, window.size)), made.value)


@model
def window_address_of(window: Window, offset: BitVecRef) -> BitVecRef:
    """In rust/daxmap-core/src/window.rs: Window::address_of"""
    return window.base + offset


@lemma
def the_end_of_a_window_never_wraps() -> Iterator[Claim]:
    """The address of each byte of a window is a sum of integers, and below 2**64; the window may end just there.

    In rust/daxmap-core/src/window.rs: Window::of_pages, Window::address_of
    """
    offset = u64("offset")
    for made, window in windows():
        address = window_address_of(window, offset)
        given = And(made, ULT(offset, window.size))
        yield Claim(given=given, then=wide(address) == wide(window.base) + wide(offset))
        yield Claim(given=made, then=ULE(wide(window.base) + wide(window.size), U64_MAX + 1))


@lemma
def a_request_stays_in_its_window() -> Iterator[Claim]:
    """A range that is granted ends in the window, as integers, and consists of whole pages. What is refused is empty,
    breaks a page or leaves the window.

    In rust/daxmap-core/src/window.rs: Window::request, Window::check_aligned
    """
    offset, length = u64("offset"), u64("length")
    for made, window in windows():
        granted = window_request(window, offset, length)
        end = wide(offset) + wide(length)
        pages = And(is_multiple(granted.value.start, window.page), is_multiple(granted.value.end, window.page))
        yield Claim(given=And(made, granted.some), then=And(pages, ULE(end, wide(window.size))))
        broken = Or(URem(offset, window.page) != 0, URem(length, window.page) != 0)
        yield Claim(given=made, then=granted.some != Or(broken, length == 0, UGT(end, wide(window.size))))


@lemma
def addresses_and_offsets_are_the_same_bytes() -> Iterator[Claim]:
    """From an offset to its address and back is the same offset; from an address in the window to its offset and back
    is the same address. An access is taken if all its bytes, as integers, are in the window, and only then. Its
    address is given by how far it is above the base, or below.

    In rust/daxmap-core/src/window.rs: Window::span_at, Window::address_of
    """
    offset, length = u64("offset"), u64("length")
    for made, window in windows():
        back = window_span_at(window, window_address_of(window, offset), word(1))
        yield Claim(given=And(made, ULT(offset, window.size)), then=And(back.some, back.value.start == offset))
        address = window.base + offset
        found = window_span_at(window, address, length)
        yield Claim(given=And(made, found.some), then=window_address_of(window, found.value.start) == address)
        above = checked_add(window.base, offset).some
        inside = And(length != 0, ULE(wide(offset) + wide(length), wide(window.size)))
        yield Claim(given=And(made, above), then=found.some == inside)
        below = window_span_at(window, window.base - 1 - offset, length)
        yield Claim(given=And(made, ULT(offset, window.base)), then=Not(below.some))
