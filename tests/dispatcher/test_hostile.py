"""A guest that sends anything, and resolvers that misbehave: a well-formed reply or None, and nothing done."""

import errno
import io
import logging
import mmap
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daxmap import DaxDispatcher, DaxMapper, HostWindowBackend
from daxmap.fuse import FUSE_DESTROY, FUSE_INIT, FUSE_REMOVEMAPPING, request
from support.guest_requests import (
    READ_WRITE,
    SLOT,
    UNIQUE,
    WHOLE_WINDOW,
    answer,
    init_request,
    map_request,
    told,
    unmap_request,
)
from support.windows import host_window

SIZE = 8 * SLOT
NODE = 5


@pytest.fixture
def file() -> Iterator[io.BufferedRandom]:
    with tempfile.TemporaryFile(buffering=0) as file:
        yield file  # type: ignore[misc]


@pytest.fixture
def dispatcher(mapper: DaxMapper, file: io.FileIO) -> Iterator[DaxDispatcher]:
    """Of a share with two mappings, for requests that may do nothing: the resolver is not asked, no mapping changes."""
    asked = []

    def resolve(nodeid: int, _fh: int | None, _writable: bool) -> int:  # noqa: FBT001
        asked.append(nodeid)
        return file.fileno()

    mapper.setup_mapping(file, 0, 0, SLOT, writable=False)
    mapper.setup_mapping(file, 0, SLOT, SLOT, writable=False)
    yield DaxDispatcher(mapper, resolve)
    assert [(live.window_offset, live.writable) for live in mapper] == [(0, False), (SLOT, False)]
    assert asked == []


MAP = map_request(NODE, 2 * SLOT)
UNMAP = unmap_request((0, SLOT), (SLOT, SLOT))
BOTH = pytest.mark.parametrize("whole", [pytest.param(MAP, id="setup"), pytest.param(UNMAP, id="remove")])


def framed(message: bytes) -> bytes:
    """With the length in the header that the message has."""
    return struct.pack("<I", len(message)) + message[4:]


@BOTH
def test_message_cut_at_any_byte_is_refused(dispatcher: DaxDispatcher, whole: bytes) -> None:
    for kept in range(len(whole)):
        assert dispatcher.handle(whole[:kept]) == (None if kept < 40 else answer(errno.EINVAL))
        assert dispatcher.handle(bytearray(whole[:kept])) == (None if kept < 40 else answer(errno.EINVAL))
        if kept >= 40:
            assert dispatcher.handle(framed(whole[:kept])) == answer(errno.EINVAL)


@BOTH
@pytest.mark.parametrize("extra", [1, 8, 16, 1 << 20])
def test_trailing_bytes_are_refused(dispatcher: DaxDispatcher, whole: bytes, extra: int) -> None:
    assert dispatcher.handle(framed(whole + bytes(extra))) == answer(errno.EINVAL)
    assert dispatcher.handle(bytearray(framed(whole + bytes(extra)))) == answer(errno.EINVAL)


@BOTH
@pytest.mark.parametrize("length", [0, 16, 39, 40, 79, 81, 2**31, 2**32 - 1])
def test_length_that_lies_is_refused(dispatcher: DaxDispatcher, whole: bytes, length: int) -> None:
    assert dispatcher.handle(struct.pack("<I", length) + whole[4:]) == answer(errno.EINVAL)


@BOTH
def test_extensions_that_are_not_there_are_refused(dispatcher: DaxDispatcher, whole: bytes) -> None:
    assert dispatcher.handle(whole[:36] + b"\1\0" + whole[38:]) == answer(errno.EINVAL)


@pytest.mark.parametrize("flags", [0, 1, 4, 6, 7, 2 | 1 << 32, 2 | 1 << 63, 2**64 - 1])
def test_unknown_flags_are_refused(dispatcher: DaxDispatcher, flags: int) -> None:
    assert dispatcher.handle(map_request(NODE, 2 * SLOT, flags=flags)) == answer(errno.EINVAL)


@pytest.mark.parametrize(("count", "entries"), [(0, 0), (0, 2), (1, 0), (1, 2), (3, 2), (2**28 + 2, 2), (2**32 - 1, 2)])
def test_count_that_lies_is_refused(dispatcher: DaxDispatcher, count: int, entries: int) -> None:
    body = struct.pack("<I", count) + struct.pack("<QQ", 0, SLOT) * entries
    assert dispatcher.handle(request(FUSE_REMOVEMAPPING, body, unique=UNIQUE)) == answer(errno.EINVAL)


@pytest.mark.parametrize("count", [4097, 65_536])
def test_too_many_entries_are_refused(dispatcher: DaxDispatcher, count: int) -> None:
    whole = unmap_request(*[(0, SLOT)] * count)
    assert dispatcher.handle(whole) == answer(errno.EINVAL)
    assert dispatcher.handle(bytearray(whole)) == answer(errno.EINVAL)


@pytest.mark.parametrize("buffer", [bytes, bytearray])
def test_bytes_after_the_longest_body_are_seen(
    dispatcher: DaxDispatcher, buffer: Callable[[bytes], bytes | bytearray]
) -> None:
    longest = unmap_request(*[(7 * SLOT, SLOT)] * 4096)
    assert dispatcher.handle(buffer(longest)) == answer(0)
    assert dispatcher.handle(buffer(longest + b"x")) == answer(errno.EINVAL)


def test_whole_window_beside_other_entries_is_refused(dispatcher: DaxDispatcher) -> None:
    whole, one = (0, WHOLE_WINDOW), (0, SLOT)
    for entries in ([whole, one], [one, whole], [whole, whole]):
        assert dispatcher.handle(unmap_request(*entries)) == answer(errno.EINVAL)


@pytest.mark.parametrize("opcode", [FUSE_INIT, FUSE_DESTROY])
def test_malformed_init_and_destroy_remove_nothing(dispatcher: DaxDispatcher, opcode: int) -> None:
    good = init_request() if opcode == FUSE_INIT else request(FUSE_DESTROY, unique=1)
    wrong = [request(opcode, b"x", unique=1), good + b"x", struct.pack("<I", 39) + good[4:], good[:39]]
    for whole in wrong:
        assert dispatcher.handle(whole) is None


@pytest.mark.parametrize("opcode", [0, 1, 16, 2**32 - 1])
def test_other_opcodes_are_left_alone_whatever_they_hold(dispatcher: DaxDispatcher, opcode: int) -> None:
    for whole in (MAP, UNMAP, MAP[:40]):
        assert dispatcher.handle(whole[:4] + struct.pack("<I", opcode) + whole[8:]) is None


WRAPS = [
    {"moffset": 2**64 - SLOT, "length": SLOT},
    {"moffset": 2**64 - SLOT, "length": 2 * SLOT},
    {"moffset": SLOT, "length": 2**64 - SLOT},
    {"moffset": SIZE - SLOT, "length": 2 * SLOT},
    {"moffset": SIZE, "length": SLOT},
    {"moffset": 0, "length": 0},
    {"moffset": 0, "length": 2**64 - 1},
    {"moffset": 0, "foffset": 2**64 - SLOT},
    {"moffset": 0, "foffset": 2**63 - SLOT, "length": 2 * SLOT},
    {"moffset": 1},
    {"moffset": 0, "foffset": 1},
    {"moffset": 0, "length": SLOT - 1},
]


@pytest.mark.parametrize("values", WRAPS)
def test_ranges_that_wrap_or_leave_the_window_map_nothing(
    dispatcher: DaxDispatcher, mapper: DaxMapper, values: dict[str, int]
) -> None:
    assert dispatcher.handle(map_request(NODE, **values)) == answer(errno.EINVAL)
    assert mapper.stats().errors == {errno.EINVAL: 1}


OUTSIDE = [
    (2**64 - SLOT, SLOT),
    (2**64 - SLOT, 2 * SLOT),
    (SLOT, 2**64 - SLOT),
    (SIZE - SLOT, 2 * SLOT),
    (SIZE, SLOT),
    (0, SIZE + SLOT),
    (0, 0),
    (1, SLOT),
    (0, SLOT - 1),
]


@pytest.mark.parametrize("entry", OUTSIDE)
def test_ranges_that_wrap_or_leave_the_window_remove_nothing(
    dispatcher: DaxDispatcher, mapper: DaxMapper, entry: tuple[int, int]
) -> None:
    assert dispatcher.handle(unmap_request(entry)) == answer(errno.EINVAL)
    assert mapper.stats().errors == {errno.EINVAL: 1}


def test_read_only_share_gives_nothing_to_write(file: io.FileIO) -> None:
    asked = []

    def resolve(_nodeid: int, _fh: int | None, writable: bool) -> int:  # noqa: FBT001
        asked.append(writable)
        return file.fileno()

    backend = HostWindowBackend()
    with DaxMapper(0, SIZE, backend, readonly=True) as mapper:
        dispatcher = DaxDispatcher(mapper, resolve)
        assert dispatcher.handle(map_request(NODE, 0, flags=READ_WRITE)) == answer(errno.EROFS)
        assert dispatcher.handle(map_request(NODE, 0)) == answer(0)
        assert dispatcher.handle(map_request(NODE, 0, flags=READ_WRITE)) == answer(errno.EROFS)
        assert [live.writable for live in mapper] == [False]
        assert mapper.stats().errors == {errno.EROFS: 2}
    backend.release()
    assert asked == [False]


def test_closed_mapper_opens_nothing(file: io.FileIO) -> None:
    asked = []

    def resolve(nodeid: int, _fh: int | None, _writable: bool) -> int:  # noqa: FBT001
        asked.append(nodeid)
        return file.fileno()

    with host_window(0, SIZE) as mapper:
        dispatcher = DaxDispatcher(mapper, resolve)
    assert dispatcher.handle(map_request(NODE, 0)) == answer(errno.ENODEV)
    assert asked == []


# A buffer that changes.


def test_change_after_the_check_changes_nothing(mapper: DaxMapper, file: io.FileIO) -> None:
    whole = bytearray(map_request(NODE, SLOT))

    def resolve(*_: object) -> int:
        whole[40:] = map_request(NODE, 0, flags=READ_WRITE)[40:]
        whole.clear()  # and nothing holds the buffer any more
        return file.fileno()

    assert DaxDispatcher(mapper, resolve).handle(whole) == answer(0)
    assert [(live.window_offset, live.writable) for live in mapper] == [(SLOT, False)]


FLIPPER = """
import mmap, sys
with open(sys.argv[1], "r+b") as file:
    memory = mmap.mmap(file.fileno(), 0)
print("ready", flush=True)
while True:
    memory[64], memory[16], memory[4] = 2, 0, 48
    memory[64], memory[16], memory[4] = 3, 1, 49
"""


def test_what_was_checked_is_what_is_done_while_another_process_writes(mapper: DaxMapper, tmp_path: Path) -> None:
    paths = [tmp_path / "even", tmp_path / "odd"]
    for path in paths:
        path.touch()
    shared = tmp_path / "memory"
    shared.write_bytes(map_request(0, 0))
    heard: list[tuple[int, bool]] = []

    def resolve(nodeid: int, _fh: int | None, writable: bool) -> int:  # noqa: FBT001
        heard.append((nodeid, writable))
        return files[nodeid].fileno()

    dispatcher = DaxDispatcher(mapper, resolve)
    with (
        paths[0].open("r+b") as even,
        paths[1].open("r+b") as odd,
        shared.open("r+b") as file,
        mmap.mmap(file.fileno(), 0) as memory,
        subprocess.Popen([sys.executable, "-c", FLIPPER, shared], stdout=subprocess.PIPE) as flipper,
    ):
        files = [even, odd]
        try:
            assert flipper.stdout is not None
            flipper.stdout.readline()
            seen = set()
            for _ in range(20_000):
                heard.clear()
                error = told(dispatcher.handle(memory))
                assert error in {0, errno.EINVAL}  # EINVAL: a SETUPMAPPING that says it is a REMOVEMAPPING
                seen.add((error, *heard))
                live = [(live.ino, live.writable) for live in mapper]
                assert live == [(paths[nodeid].stat().st_ino, writable) for nodeid, writable in heard]
                mapper.reset()
        finally:
            flipper.kill()
    assert len(seen) > 1


def test_flood_of_malformed_requests_is_logged_a_few_times(
    dispatcher: DaxDispatcher, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(1000):
        dispatcher.handle(MAP[:-1])
    assert 0 < len(caplog.records) < 20
    assert caplog.records[0].name == "daxmap"
    assert caplog.records[0].levelno == logging.WARNING
    assert "malformed" in caplog.text
