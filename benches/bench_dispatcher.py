"""The same as FUSE requests: bytes in, bytes out, with all that is decoded and checked on the way."""

import ctypes
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from time import perf_counter

import pytest

from benches.bench_pair import GAP, OBVIOUS
from benches.compare import Compare, Figure, Timed, spread
from benches.floor import SLOT
from benches.windows import LIVE, Windows, every_other, per_operation
from daxmap import FUSE_NO_FH, DaxDispatcher, reopen
from daxmap.fuse import (
    FUSE_REMOVEMAPPING,
    FUSE_SETUPMAPPING,
    FUSE_SETUPMAPPING_FLAG_READ,
    RemoveMapping,
    SetupMapping,
    reply,
    request,
)

FUSE_LOOKUP, FUSE_WRITE = 1, 16
MESSAGES: dict[str, bytes | memoryview] = {
    "LOOKUP in bytes": request(FUSE_LOOKUP, b"file\0", unique=7),
    "LOOKUP in a memoryview": memoryview(bytearray(request(FUSE_LOOKUP, b"file\0", unique=7))),
    "WRITE of 1 MiB in bytes": request(FUSE_WRITE, bytes(1 << 20), unique=7),
}
CALLS = 1000


def requests(windows: Windows, offsets: Sequence[int]) -> Timed:
    """Each offset set up and removed by requests. The resolver knows the file at once."""
    return pairs_of(DaxDispatcher(windows.mapper, lambda _nodeid, _fh, _writable: windows.fd).handle, offsets, nodeid=2)


def opening_requests(windows: Windows, offsets: Sequence[int], path_fd: int) -> Timed:
    """The same with a resolver that opens the file each time."""
    dispatcher = DaxDispatcher(windows.mapper, lambda _nodeid, _fh, writable: reopen(path_fd, writable))
    return pairs_of(dispatcher.handle, offsets, nodeid=2)


def pairs_of(handle: Callable[[bytes], bytes | None], offsets: Sequence[int], nodeid: int) -> Timed:
    """Each offset set up and removed by requests."""
    pairs = []
    for offset in offsets:
        setup = SetupMapping(FUSE_NO_FH, 0, SLOT, FUSE_SETUPMAPPING_FLAG_READ, offset)
        remove = RemoveMapping(((offset, SLOT),))
        bodies = ((FUSE_SETUPMAPPING, setup.build()), (FUSE_REMOVEMAPPING, remove.build()))
        pairs.append([request(opcode, body, unique=7, nodeid=nodeid) for opcode, body in bodies])
    assert all(handle(message) == reply(7) for pair in pairs for message in pair)

    def timed() -> float:
        start = perf_counter()
        for setup, remove in pairs:
            handle(setup)
            handle(remove)
        return (perf_counter() - start) / len(pairs)

    return timed


def test_against_method_calls(compare: Compare, floor: ctypes.CDLL, fd: int) -> None:
    with Windows(floor, fd, every_other(0, LIVE)) as windows:
        compare("pair of FUSE requests, gap", requests(windows, GAP), windows.pairs(GAP), against="methods", bar=1.25)


def test_against_the_floor(compare: Compare, floor: ctypes.CDLL, fd: int) -> None:
    with Windows(floor, fd, every_other(0, LIVE)) as windows:
        compare("pair of FUSE requests, gap", requests(windows, GAP), windows.obvious_pairs(GAP), against=OBVIOUS)


def test_a_file_that_is_opened_each_time(compare: Compare, floor: ctypes.CDLL, fd: int) -> None:
    what = "pair of FUSE requests, reopen"
    with Windows(floor, fd, every_other(0, LIVE)) as windows, ExitStack() as stack:
        path_fd, descriptors = (os.open(path, os.O_PATH) for path in (f"/proc/self/fd/{fd}", "/proc/self/fd"))
        for opened in (path_fd, descriptors):
            stack.callback(os.close, opened)
        work = windows.work(GAP)
        obvious = per_operation(lambda: floor.opening_pairs(work, descriptors, path_fd), len(GAP))
        contender = opening_requests(windows, GAP, path_fd)
        compare(what, contender, obvious, against="obvious C loop that opens, too", bar=1.80)


@pytest.mark.parametrize("name", MESSAGES)
def test_request_of_others(compare: Compare, name: str) -> None:
    """What every other request of the guest pays for passing through the dispatcher."""
    message, handle = MESSAGES[name], DaxDispatcher(None, lambda *_: -1).handle

    def handled() -> float:
        start = perf_counter()
        for _ in range(CALLS):
            handle(message)
        return (perf_counter() - start) / CALLS

    def nothing() -> float:
        start = perf_counter()
        for _ in range(CALLS):
            callable(message)  # a C function that returns at once
        return (perf_counter() - start) / CALLS

    times = compare.rounds(handled, nothing)
    low, median, high = spread([(seconds - least) * 1e9 for seconds, least in times])
    against = "a call that does nothing, subtracted"
    compare.keep(Figure(f"{name}, passed on", against, median, low, high, bar=150, unit=" ns"))
