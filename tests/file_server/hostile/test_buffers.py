"""answer_into: requests and replies in whatever pieces of memory a virtqueue has."""

import mmap
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from daxmap import FileServer
from support.fuse_client import ROOT, Client, Op, checked, errno_of

Serve = Callable[..., Client]
FILL = 0xEE


def pieces(data: bytearray, sizes: list[int]) -> list[memoryview]:
    """Views of all of it, the last of whatever is left."""
    views, at = [], 0
    for size in sizes:
        views.append(memoryview(data)[at : at + size])
        at += size
    return [*views, memoryview(data)[at:]]


def answered(server: FileServer, request: list[memoryview] | list[bytes], room: int, sizes: list[int]) -> bytes:
    """The reply; what is after it must be as it was, as must guards around the memory."""
    memory = bytearray([FILL]) * room
    used = server.answer_into(request, pieces(memory, sizes))
    assert used <= room
    if struct.unpack_from("<I", b"".join(request))[0] == len(b"".join(request)):
        assert set(memory[used:]) <= {FILL}
    return bytes(memory[:used])


@pytest.mark.parametrize("size", [1, 3, 15, 16, 17, 39, 40, 41, 79, 80, 81])
def test_pieces_of_any_size_make_one_request_and_one_reply(guest: Client, size: int) -> None:
    node = guest.walk(b"file")
    fh = guest.open(node, os.O_RDWR)
    server = guest.server
    assert isinstance(server, FileServer)
    body = struct.pack("<QQIIQII", fh, 5, 300, 0, 0, 0, 0)
    for opcode, request in [
        (Op.WRITE, guest.request(Op.WRITE, node, body + bytes(range(256)) + b"w" * 44)),
        (Op.READ, guest.request(Op.READ, node, body)),
        (Op.LOOKUP, guest.request(Op.LOOKUP, ROOT, b"dir\0")),
    ]:
        cut = [request[at : at + size] for at in range(0, len(request), size)]
        reply = answered(server, cut, 1000, [0, *[size] * 20, 0])
        checked(request, reply)
        assert struct.unpack_from("<i", reply, 4)[0] == 0
        if opcode is Op.READ:
            assert reply[16:] == bytes(range(256)) + b"w" * 44


def test_more_pieces_than_one_system_call_takes(guest: Client, share: Path) -> None:
    data = os.urandom(6000)
    (share / "file").write_bytes(data)
    node = guest.walk(b"file")
    fh = guest.open(node, os.O_RDWR)
    server = guest.server
    assert isinstance(server, FileServer)
    request = guest.request(Op.READ, node, struct.pack("<QQIIQII", fh, 0, 6000, 0, 0, 0, 0))
    assert answered(server, [request], 6016, [16, *[1] * 6000])[16:] == data
    request = guest.request(Op.WRITE, node, struct.pack("<QQIIQII", fh, 0, 6000, 0, 0, 0, 0) + data[::-1])
    reply = answered(server, [request[at : at + 1] for at in range(len(request))], 24, [])
    assert struct.unpack_from("<I", reply, 16)[0] == 6000
    assert (share / "file").read_bytes() == data[::-1]


@pytest.mark.parametrize("room", range(18))
def test_room_for_less_than_a_reply(guest: Client, share: Path, room: int) -> None:
    node = guest.walk(b"file")
    fh = guest.open(node)
    server = guest.server
    assert isinstance(server, FileServer)
    body = struct.pack("<QQIIQII", fh, 0, 300, 0, 0, 0, 0)
    for opcode, nodeid, of in [(Op.READ, node, body), (Op.LOOKUP, ROOT, b"file\0"), (Op.STATFS, ROOT, b"")]:
        request = guest.request(opcode, nodeid, of)
        reply = answered(server, [request], room, [])
        if room < 16:
            assert reply == b""
        elif opcode is Op.READ:
            checked(request, reply)
            assert reply[16:] == b"hello"[: room - 16]
        else:
            checked(request, reply)
            assert struct.unpack_from("<i", reply, 4)[0] < 0
    assert (share / "file").stat().st_size == 5000


def test_no_memory_at_all(guest: Client) -> None:
    server = guest.server
    assert isinstance(server, FileServer)
    lookup = guest.request(Op.LOOKUP, ROOT, b"file\0")
    nothing: list[list[bytes]] = [[], [b""], [b"", b""], [lookup[:39]]]
    for readable in nothing:
        assert server.answer_into(readable, [bytearray(100)]) == 0
    for writable in ([], [bytearray()]):
        assert server.answer_into([lookup], writable) == 0


def test_request_and_reply_in_the_same_memory(guest: Client, share: Path) -> None:
    node = guest.walk(b"file")
    fh = guest.open(node, os.O_RDWR)
    server = guest.server
    assert isinstance(server, FileServer)
    for opcode, of in [
        (Op.GETATTR, bytes(16)),
        (Op.READ, struct.pack("<QQIIQII", fh, 0, 4000, 0, 0, 0, 0)),
        (Op.WRITE, struct.pack("<QQIIQII", fh, 0, 100, 0, 0, 0, 0) + b"w" * 100),
    ]:
        request = guest.request(opcode, node, of)
        memory = mmap.mmap(-1, 8192)
        memory[: len(request)] = request
        with memoryview(memory) as view:
            used = server.answer_into([view[: len(request)]], [view[:5000]])
            checked(request, bytes(view[:used]))
        memory.close()
    assert (share / "file").read_bytes()[:101] == b"w" * 100 + b"h"


def test_same_memory_again_and_again_is_filled_and_no_length_wraps(guest: Client, share: Path) -> None:
    os.truncate(share / "file", 1 << 33)
    node = guest.walk(b"file")
    fh = guest.open(node)
    server = guest.server
    assert isinstance(server, FileServer)
    request = guest.request(Op.READ, node, struct.pack("<QQIIQII", fh, 0, 2**32 - 1, 0, 0, 0, 0))
    piece = memoryview(bytearray(1 << 20))
    header = bytearray(16)
    used = server.answer_into([request], [header, *[piece] * 4097])
    length, error, _ = struct.unpack("<IiQ", header)
    assert (length, error) == (used, 0)


def test_memory_that_is_no_memory_for_a_reply_is_refused(guest: Client) -> None:
    server = guest.server
    assert isinstance(server, FileServer)
    request = guest.request(Op.LOOKUP, ROOT, b"file\0")
    apart = memoryview(bytearray(200))[::2]
    for wrong in (b"read-only", apart):
        with pytest.raises(BufferError):
            server.answer_into([request], [bytearray(200), wrong])
    for nothing in (None, "text", 1):
        with pytest.raises(TypeError):
            server.answer_into([request], [nothing])  # type: ignore[list-item]
    assert errno_of(guest.lookup, b"file") == ""


def test_directory_is_read_into_what_room_there_is(guest: Client) -> None:
    fh = guest.opendir()
    server = guest.server
    assert isinstance(server, FileServer)
    for opcode in (Op.READDIR, Op.READDIRPLUS):
        request = guest.request(opcode, ROOT, struct.pack("<QQIIQII", fh, 0, 1 << 20, 0, 0, 0, 0))
        for room in (16, 17, 100, 250, 300, 500, 100_000):
            reply = answered(server, [request], room, [])
            checked(request, reply)
            assert struct.unpack_from("<i", reply, 4)[0] == 0
