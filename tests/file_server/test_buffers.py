"""Requests and replies in pieces, as a virtqueue has them."""

import os
import struct
from array import array
from pathlib import Path

import pytest

from daxmap import FileServer
from support.fuse_guest import FORGET, GETATTR, READ, ROOT, WRITE, FuseGuest

CONTENT = os.urandom(100_000)
IO = struct.Struct("<QQIIQII")
OUT = struct.Struct("<IiQ")


@pytest.fixture
def opened(directory: Path, guest: FuseGuest) -> tuple[int, int]:
    (directory / "file").write_bytes(CONTENT)
    nodeid = guest.lookup("file").nodeid
    return nodeid, guest.open(nodeid, os.O_RDWR)


def pieces(data: bytes, *lengths: int) -> list[memoryview]:
    """The data in writable buffers of these lengths; the last takes the rest."""
    rest, found = memoryview(bytearray(data)), []
    for length in lengths:
        found.append(rest[:length])
        rest = rest[length:]
    return [*found, rest]


@pytest.mark.parametrize("request_lengths", [(), (1, 39), (40,), (0, 17, 0), tuple([1] * 79)])
@pytest.mark.parametrize("reply_lengths", [(), (16,), (3, 20), (0, 1, 15, 50_000), tuple([10] * 3000)])
def test_read_in_pieces(
    server: FileServer,
    guest: FuseGuest,
    opened: tuple[int, int],
    request_lengths: tuple[int, ...],
    reply_lengths: tuple[int, ...],
) -> None:
    nodeid, fh = opened
    message = guest.message(READ, nodeid, IO.pack(fh, 1000, 90_000, 0, 0, 0, 0))
    reply = pieces(bytes(100_000), *reply_lengths)
    used = server.answer_into(pieces(message, *request_lengths), reply)
    assert used == 16 + 90_000
    whole = b"".join(reply)
    assert OUT.unpack_from(whole) == (used, 0, int.from_bytes(message[8:16], "little"))
    assert whole[16:used] == CONTENT[1000:91_000]
    assert not any(whole[used:]), "nothing is written past what is used"


@pytest.mark.parametrize("lengths", [(), (80,), (79, 2, 0), (5, 35, 40, 1, 1, 1), tuple([7] * 2000)])
def test_write_in_pieces(
    server: FileServer, guest: FuseGuest, opened: tuple[int, int], directory: Path, lengths: tuple[int, ...]
) -> None:
    nodeid, fh = opened
    data = os.urandom(50_000)
    message = guest.message(WRITE, nodeid, IO.pack(fh, 10, len(data), 0, 0, 0, 0) + data)
    reply = bytearray(24)
    assert server.answer_into(pieces(message, *lengths), [reply]) == 24
    assert struct.unpack("<IiQII", reply)[::3] == (24, 50_000)
    assert (directory / "file").read_bytes() == CONTENT[:10] + data + CONTENT[50_010:]


def test_reply_that_does_not_fit_is_an_error_and_less_room_is_silence(server: FileServer, guest: FuseGuest) -> None:
    message = guest.message(GETATTR, ROOT, bytes(16))
    for room in range(16, 120):
        reply = bytearray(room)
        assert server.answer_into([message], [reply]) == 16
        assert OUT.unpack_from(reply)[:2] == (16, -22)
    assert server.answer_into([message], [bytearray(120)]) == 120
    for room in range(16):
        assert server.answer_into([message], [reply := bytearray(room)]) == 0
        assert not any(reply)
    assert server.answer_into([message], []) == 0


def test_read_into_little_room_gives_what_fits(server: FileServer, guest: FuseGuest, opened: tuple[int, int]) -> None:
    nodeid, fh = opened
    message = guest.message(READ, nodeid, IO.pack(fh, 0, 4096, 0, 0, 0, 0))
    assert server.answer_into([message], [reply := bytearray(20)]) == 20
    assert reply[16:] == CONTENT[:4]


def test_what_has_no_reply_uses_nothing(server: FileServer, guest: FuseGuest) -> None:
    assert server.answer_into([guest.message(FORGET, 5, bytes(8))], [reply := bytearray(64)]) == 0
    assert server.answer_into([], [reply]) == server.answer_into([b"too short"], [reply]) == 0
    assert not any(reply)


def test_only_buffers_in_one_row_are_taken(server: FileServer, guest: FuseGuest) -> None:
    message = guest.message(GETATTR, ROOT, bytes(16))
    with pytest.raises(BufferError, match="read-only"):
        server.answer_into([message], [bytes(120)])
    with pytest.raises(BufferError, match="not contiguous"):
        server.answer_into([message], [memoryview(bytearray(240))[::2]])
    with pytest.raises(BufferError, match="not contiguous"):
        server.answer_into([memoryview(bytearray(message * 2))[::2]], [bytearray(120)])
    for wrong in ("text", 5, None, array("I", [1])):
        with pytest.raises((TypeError, BufferError)):
            server.answer_into([wrong], [bytearray(120)])  # type: ignore[list-item]
        with pytest.raises((TypeError, BufferError)):
            server.answer(wrong if wrong is None or isinstance(wrong, str | int) else None)  # type: ignore[arg-type]
