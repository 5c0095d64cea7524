"""The file server: the requests of a guest for a real directory, bytes to bytes."""

import ctypes
import os
import struct
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import pytest

from benches.bench_dispatcher import pairs_of, requests
from benches.bench_pair import GAP
from benches.compare import Compare
from benches.rust_program import rounds_of
from benches.windows import LIVE, Windows, every_other
from daxmap import FileServer
from daxmap.fuse import FUSE_INIT, InitIn, request

METADATA = ["LOOKUP", "GETATTR", "OPEN and RELEASE", "READ of 4 KiB"]
FUSE_LOOKUP, FUSE_OPEN, FUSE_READ = 1, 14, 15
MIB = 1 << 20


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(os.urandom(2 * MIB))
    return tmp_path


def looked_up(server: FileServer) -> int:
    """The nodeid of `file`, in a server that a guest has just mounted."""
    assert server.answer(request(FUSE_INIT, InitIn(7, 41, 0, 0).build(), unique=1))
    reply = server.answer(request(FUSE_LOOKUP, b"file\0", unique=2, nodeid=1))
    assert reply is not None
    nodeid: int = struct.unpack_from("<Q", reply, 16)[0]
    return nodeid


def timed(call: Callable[[], object], count: int) -> Callable[[], float]:
    """Seconds a call, of so many."""

    def seconds() -> float:
        start = perf_counter()
        for _ in range(count):
            call()
        return (perf_counter() - start) / count

    return seconds


def test_pair(compare: Compare, floor: ctypes.CDLL, fd: int, directory: Path) -> None:
    with Windows(floor, fd, every_other(0, LIVE)) as windows:
        server = FileServer(directory, mapper=windows.mapper)
        windows.mapper.reset()
        nodeid = looked_up(server)
        contender = pairs_of(server.answer, GAP, nodeid)
        against = "DaxDispatcher, constant descriptor"
        compare(
            "pair of requests, FileServer, a real file", contender, requests(windows, GAP), against=against, bar=1.15
        )


def test_read(compare: Compare, directory: Path) -> None:
    server = FileServer(directory)
    nodeid = looked_up(server)
    opened = server.answer(request(FUSE_OPEN, bytes(8), unique=3, nodeid=nodeid))
    assert opened is not None
    body = opened[16:24] + struct.pack("<QIIQII", 0, MIB, 0, 0, 0, 0)
    readable, reply = [request(FUSE_READ, body, unique=4, nodeid=nodeid)], [bytearray(16), bytearray(MIB)]
    assert server.answer_into(readable, reply) == 16 + MIB
    assert reply[1] == (directory / "file").read_bytes()[:MIB]
    with (directory / "file").open("rb") as file:
        own = [reply[1]]
        compare(
            "READ of 1 MiB, answer_into",
            timed(lambda: server.answer_into(readable, reply), 5),
            timed(lambda: os.preadv(file.fileno(), own, 0), 5),
            against="preadv into the same buffer",
            bar=1.3,
        )


def test_metadata(compare: Compare) -> None:
    rounds = compare.once(lambda: rounds_of("daxmap-virtiofs", "metadata"))
    for what in METADATA:
        compare.record(f"file server in Rust: {what}", rounds[what], against="fuse-backend-rs alone", bar=1.3)
