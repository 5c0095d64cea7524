"""The VMM's own view of the window: read, write and lookup."""

import array
import ctypes
import mmap
import os
from collections.abc import Callable
from errno import EACCES, EFAULT
from typing import Any

import pytest

from support.host import PAGE
from support.rig import WINDOW_SIZE, Rig, Subject, fields

START = 2 * PAGE
LENGTH = 2 * PAGE


@pytest.fixture
def base(subject: Subject) -> int:
    """Guest physical address of a window with a writable mapping of pages 0 and 1 of a file at START."""
    subject.map(subject.rig.file(), START, LENGTH, writable=True)
    return subject.mapper.base


def content(subject: Subject, offset: int, length: int) -> bytes:
    return subject.model[START].file.read(offset, length)


@pytest.mark.usefixtures("needs_copies")
@pytest.mark.parametrize(("offset", "length"), [(0, 1), (0, LENGTH), (1, 7), (PAGE - 1, 2), (LENGTH - 1, 1)])
def test_read_of_any_alignment(subject: Subject, base: int, offset: int, length: int) -> None:
    data = subject.mapper.read(base + START + offset, length)
    assert type(data) is bytes
    assert data == content(subject, offset, length)


@pytest.mark.usefixtures("needs_copies")
@pytest.mark.parametrize(("offset", "length"), [(0, 1), (1, 7), (PAGE - 1, 2), (LENGTH - 3, 3)])
def test_write_of_any_alignment_reaches_the_file(subject: Subject, base: int, offset: int, length: int) -> None:
    data = os.urandom(length)
    expected = bytearray(content(subject, 0, LENGTH))
    expected[offset : offset + length] = data
    subject.mapper.write(base + START + offset, data)
    assert content(subject, 0, LENGTH) == expected
    subject.agree()


@pytest.mark.usefixtures("needs_copies")
def test_read_and_write_across_mappings(subject: Subject, base: int) -> None:
    other = subject.rig.file()
    subject.map(other, START + LENGTH, file_offset=PAGE, writable=True)
    across = base + START + LENGTH - 2
    assert subject.mapper.read(across, 4) == content(subject, LENGTH - 2, 2) + other.read(PAGE, 2)
    subject.mapper.write(across, b"abcd")
    assert content(subject, LENGTH - 2, 2) == b"ab"
    assert other.read(PAGE, 2) == b"cd"


OUTSIDE = [
    (0, 1),
    (START - 1, 1),
    (START - 1, 2),
    (START + LENGTH, 1),
    (START + LENGTH - 1, 2),
    (START, LENGTH + 1),
    (START, WINDOW_SIZE),
    (WINDOW_SIZE - 1, 1),
    (WINDOW_SIZE - 1, 2),
    (WINDOW_SIZE, 1),
    (-1, 1),
    (-1, 2),
]


@pytest.mark.parametrize(("offset", "length"), OUTSIDE)
def test_holes_and_what_lies_outside_the_window_fault(subject: Subject, base: int, offset: int, length: int) -> None:
    before = content(subject, 0, LENGTH)
    with subject.refused(EFAULT) as caught:
        subject.mapper.read(base + offset, length)
    assert hex(base + offset) in str(caught.value)
    with subject.refused(EFAULT):
        subject.mapper.write(base + offset, bytes(length))
    assert content(subject, 0, LENGTH) == before


@pytest.mark.parametrize(
    ("address", "length"), [(0, 1), (2**64 - 1, 1), (2**64 - 1, 2), (0, 2**64 - 1), (2**63, 2**63)]
)
def test_addresses_far_from_the_window_fault(subject: Subject, address: int, length: int) -> None:
    with subject.refused(EFAULT):
        subject.mapper.read(address, length)
    if length < PAGE:
        with subject.refused(EFAULT):
            subject.mapper.write(address, bytes(length))


def test_a_length_past_2_64_faults(subject: Subject, base: int) -> None:
    with subject.refused(EFAULT):
        subject.mapper.read(base + START, 2**64 - 1)


def test_hole_between_mappings_faults(subject: Subject, base: int) -> None:
    subject.map(subject.rig.file(), START + LENGTH + PAGE, writable=True)
    with subject.refused(EFAULT):
        subject.mapper.read(base + START, LENGTH + 2 * PAGE)
    with subject.refused(EFAULT):
        subject.mapper.write(base + START + LENGTH - 1, bytes(PAGE + 2))


def test_removed_range_faults(subject: Subject, base: int) -> None:
    subject.remove(START, LENGTH)
    with subject.refused(EFAULT):
        subject.mapper.read(base + START, 1)


def test_write_to_a_read_only_mapping(subject: Subject, base: int) -> None:
    other = subject.rig.file()
    subject.map(other, START + LENGTH)
    before = content(subject, 0, LENGTH), other.read(0, PAGE)
    for offset in (START + LENGTH, START + LENGTH + 5, START + LENGTH - 1):
        with subject.refused(EACCES):
            subject.mapper.write(base + offset, b"xy")
    assert (content(subject, 0, LENGTH), other.read(0, PAGE)) == before


@pytest.mark.usefixtures("needs_copies")
def test_pages_past_the_end_of_a_truncated_file_fault(subject: Subject, base: int) -> None:
    subject.agree()  # all pages have been there
    file = subject.model[START].file
    os.ftruncate(file.fd, PAGE)
    for length in (1, PAGE):
        with subject.refused(EFAULT):
            subject.mapper.read(base + START + PAGE, length)
        with subject.refused(EFAULT):
            subject.mapper.write(base + START + PAGE, bytes(length))
    with subject.refused(EFAULT):
        subject.mapper.read(base + START, PAGE + 1)
    assert subject.mapper.read(base + START, PAGE) == file.read(0, PAGE)
    assert os.fstat(file.fd).st_size == PAGE


@pytest.mark.parametrize("offset", [0, START, START + LENGTH, WINDOW_SIZE])
def test_nothing_can_be_read_and_written_anywhere(subject: Subject, base: int, offset: int) -> None:
    with subject.untouched():
        assert subject.mapper.read(base + offset, 0) == b""
        subject.mapper.write(base + offset, b"")


BUFFERS: dict[str, Callable[[], Any]] = {
    "bytes": lambda: b"abcdefgh",
    "bytearray": lambda: bytearray(b"abcdefgh"),
    "memoryview": lambda: memoryview(b"abcdefgh"),
    "every other byte": lambda: memoryview(b"a.b.c.d.e.f.g.h.")[::2],
    "backwards": lambda: memoryview(b"hgfedcba")[::-1],
    "chars": lambda: memoryview(b"abcdefgh").cast("c"),
    "signed": lambda: memoryview(b"abcdefgh").cast("b"),
    "two dimensions": lambda: memoryview(b"abcdefgh").cast("B", (2, 4)),
    "array of words": lambda: array.array("I", b"abcdefgh"),
    "array of floats": lambda: array.array("d", b"abcdefgh"),
    "ctypes bytes": lambda: (ctypes.c_ubyte * 8)(*b"abcdefgh"),
    "ctypes words": lambda: (ctypes.c_uint32 * 2).from_buffer_copy(b"abcdefgh"),
    "mmap": lambda: anonymous(b"abcdefgh"),
}


def anonymous(data: bytes) -> mmap.mmap:
    memory = mmap.mmap(-1, len(data))
    memory[:] = data
    return memory


@pytest.mark.usefixtures("needs_copies")
@pytest.mark.parametrize("buffer", BUFFERS.values(), ids=BUFFERS)
def test_write_takes_any_buffer(subject: Subject, base: int, buffer: Callable[[], Any]) -> None:
    subject.mapper.write(base + START + 3, buffer())
    assert content(subject, 3, 8) == b"abcdefgh"


@pytest.mark.usefixtures("needs_copies")
def test_write_from_the_window_itself(subject: Subject, base: int) -> None:
    subject.mapper.write(base + START, subject.mapper.read(base + START + PAGE, PAGE))
    assert content(subject, 0, PAGE) == content(subject, PAGE, PAGE)


def test_lookup_knows_the_owner_of_every_byte(subject: Subject) -> None:
    file = subject.rig.file()
    subject.map(file, PAGE, 2 * PAGE, file_offset=PAGE)
    subject.map(file, 3 * PAGE, writable=True)
    first, second = subject.mapper
    owners = {
        0: None,
        PAGE - 1: None,
        PAGE: first,
        2 * PAGE: first,
        3 * PAGE - 1: first,
        3 * PAGE: second,
        4 * PAGE - 1: second,
        4 * PAGE: None,
        WINDOW_SIZE: None,
        2**64 - 1: None,
    }
    with subject.untouched():
        assert {offset: subject.mapper.lookup(offset) for offset in owners} == owners
    assert fields(first) == (PAGE, 2 * PAGE, PAGE, False, file.device, file.inode)


def test_mapping_info_is_a_value(rig: Rig) -> None:
    subject = rig.open(2 << 20)
    subject.map(rig.file(), 0)
    one, same = next(iter(subject.mapper)), subject.mapper.lookup(0)
    assert one == same
    assert hash(one) == hash(same)
    assert one is not same
    subject.map(subject.model[0].file, 0, writable=True)
    assert one != subject.mapper.lookup(0)
    assert not one.writable
