"""Any sequence of requests, well-formed or not, against a model of the mapper: replies and book are the model's."""

import errno
import io
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daxmap import DaxDispatcher, DaxMapper, HostWindowBackend
from daxmap.fuse import FUSE_DESTROY, OutHeader, request
from support.guest_requests import SLOT, WHOLE_WINDOW, init_request, map_request, told, unmap_request

SLOTS = 6
SIZE = SLOTS * SLOT
MOST = 3
PAGE = os.sysconf("SC_PAGE_SIZE")

# Inodes: two files, one of them twice (an upgrade brings another descriptor), and what is no file to map.
EVEN, ODD, EVEN_READ_ONLY, GONE, BUGGY, CLOSED, DIRECTORY = range(2, 9)
FILE_OF = {EVEN: EVEN, ODD: ODD, EVEN_READ_ONLY: EVEN}
ERRNO_OF = {GONE: errno.ENOENT, BUGGY: errno.EIO, CLOSED: errno.EBADF, DIRECTORY: errno.ENODEV}


@dataclass(frozen=True)
class Map:
    """A SETUPMAPPING."""

    nodeid: int
    moffset: int
    foffset: int
    length: int
    flags: int

    def build(self) -> bytes:
        return map_request(self.nodeid, self.moffset, foffset=self.foffset, length=self.length, flags=self.flags)


@dataclass(frozen=True)
class Unmap:
    """A REMOVEMAPPING."""

    entries: tuple[tuple[int, int], ...]

    def build(self) -> bytes:
        return unmap_request(*self.entries)


@dataclass(frozen=True)
class Restart:
    """INIT, or DESTROY."""

    message: bytes

    def build(self) -> bytes:
        return self.message


@dataclass(frozen=True)
class Broken:
    """A request with its length changed, and the length in its header too if `framed`."""

    whole: Map | Unmap
    change: int
    framed: bool

    def build(self) -> bytes:
        message = self.whole.build()
        changed = message[: self.change] if self.change < 0 else message + bytes(self.change)
        return struct.pack("<I", len(changed)) + changed[4:] if self.framed else changed


@dataclass(frozen=True)
class Noise:
    """Bytes that are no DAX request."""

    message: bytes

    def build(self) -> bytes:
        return self.message


Any_ = Map | Unmap | Restart | Broken | Noise

# What a sane guest asks for, though its ranges overlap; and anything.
slots = st.integers(0, SLOTS - 1).map(lambda slot: slot * SLOT)
pieces = st.sampled_from([SLOT, SLOT, 2 * SLOT, 3 * SLOT])
files_ = st.sampled_from([EVEN, EVEN, ODD, EVEN_READ_ONLY])
sane_maps = st.builds(Map, files_, slots, slots, pieces, st.sampled_from([2, 2, 3]))
sane_unmaps = st.builds(Unmap, st.lists(st.tuples(slots, pieces), min_size=1, max_size=3).map(tuple))
offsets = st.integers(0, SLOTS).map(lambda slot: slot * SLOT) | st.sampled_from([1, PAGE, 2**64 - SLOT, 2**64 - PAGE])
lengths = st.sampled_from([SLOT] * 6 + [PAGE, 2 * SLOT, 0, 1, WHOLE_WINDOW, 2**64 - SLOT])
nodes = st.sampled_from([EVEN, EVEN, ODD, EVEN_READ_ONLY, GONE, BUGGY, CLOSED, DIRECTORY])
flags = st.sampled_from([2, 2, 2, 3, 3, 0, 1, 4, 7, 1 << 63])
maps = st.builds(Map, nodes, offsets, offsets, lengths, flags)
unmaps = st.builds(Unmap, st.lists(st.tuples(offsets, lengths), max_size=4).map(tuple))
restarts = st.sampled_from([Restart(init_request()), Restart(request(FUSE_DESTROY, unique=1))])
broken = st.builds(Broken, maps | unmaps, st.integers(-30, 20).filter(bool), st.booleans())
noise = st.binary(max_size=100).filter(lambda message: message[4:8] not in {b"0\0\0\0", b"1\0\0\0"}).map(Noise)
requests = st.one_of(sane_maps, sane_maps, sane_maps, sane_unmaps, sane_unmaps, maps, unmaps, restarts, broken, noise)


@dataclass
class Model:
    """The rules, over a dict: window offset to (length, file offset, file, writable)."""

    book: dict[int, tuple[int, int, int, bool]] = field(default_factory=dict)
    removed: int = 0

    def answer(self, wanted: Any_) -> int | None:
        match wanted:
            case Map():
                return self.map(wanted)
            case Unmap(entries):
                return self.unmap(entries)
            case Broken(whole, change):
                return None if len(whole.build()) + change < 40 else errno.EINVAL
            case Restart():
                self.book.clear()
        return None

    def map(self, wanted: Map) -> int:  # noqa: PLR0911
        if wanted.flags not in {2, 3}:
            return errno.EINVAL
        if wanted.foffset % PAGE or wanted.foffset + wanted.length > 2**63 - 1:
            return errno.EINVAL
        if not self.lies_inside(wanted.moffset, wanted.length):
            return errno.EINVAL
        if wanted.nodeid in ERRNO_OF:
            return ERRNO_OF[wanted.nodeid]
        new = (wanted.length, wanted.foffset, FILE_OF[wanted.nodeid], wanted.flags == 3)
        after = self.without(wanted.moffset, wanted.length) | {wanted.moffset: new}
        if len(after) > MOST:
            return errno.ENOSPC
        if new[3] and wanted.nodeid == EVEN_READ_ONLY:
            return errno.EACCES
        self.book = after
        return 0

    @staticmethod
    def lies_inside(start: int, length: int) -> bool:
        return start % PAGE == 0 and length % PAGE == 0 and length > 0 and start + length <= SIZE

    def without(self, start: int, length: int) -> dict[int, tuple[int, int, int, bool]]:
        """The book with a hole in it: what reaches out of the hole is cut."""
        cut = {}
        for old, (size, offset, file, writable) in self.book.items():
            for first, last in ((old, min(old + size, start)), (max(old, start + length), old + size)):
                if first < last:
                    cut[first] = (last - first, offset + first - old, file, writable)
        return cut

    def unmap(self, entries: tuple[tuple[int, int], ...]) -> int:
        whole = [entry for entry in entries if entry[1] == WHOLE_WINDOW]
        if not entries or (whole and len(entries) > 1):
            return errno.EINVAL
        ranges = [(0, SIZE)] if whole else entries
        errors = {index: errno.EINVAL for index, entry in enumerate(ranges) if not self.lies_inside(*entry)}
        run: list[int] = []
        for index in sorted(range(len(ranges)), key=lambda index: ranges[index][0]):
            if index in errors:
                continue
            end = max((sum(ranges[each]) for each in run), default=0)
            if any(max(end, old) < min(ranges[index][0], old + size) for old, (size, *_) in self.book.items()):
                errors |= self.unmap_run(ranges, run)
                run = []
            run.append(index)
        errors |= self.unmap_run(ranges, run)
        return errors[min(errors)] if errors else 0

    def unmap_run(self, ranges: Sequence[tuple[int, int]], run: list[int]) -> dict[int, int]:
        """Ranges with nothing mapped between them go as one; if the budget does not allow that, one by one."""
        if not run:
            return {}
        start, end = ranges[run[0]][0], max(sum(ranges[index]) for index in run)
        if len(self.without(start, end - start)) <= MOST:
            run, ranges = [0], [(start, end - start)]
        return {index: errno_ for index in run if (errno_ := self.unmap_one(*ranges[index]))}

    def unmap_one(self, moffset: int, length: int) -> int:
        after = self.without(moffset, length)
        if len(after) > MOST:
            return errno.ENOSPC
        self.removed += sum(
            moffset <= start and start + size <= moffset + length for start, (size, *_) in self.book.items()
        )
        self.book = after
        return 0


class Files:
    """What the inodes stand for."""

    def __init__(self, directory: Path) -> None:
        even, odd = directory / "even", directory / "odd"
        for path in (even, odd):
            path.write_bytes(bytes(PAGE))
        self.open = {EVEN: io.FileIO(even, "r+"), ODD: io.FileIO(odd, "r+"), EVEN_READ_ONLY: io.FileIO(even)}
        self.directory = os.open(directory, os.O_RDONLY)
        self.nodeid = {path.stat().st_ino: nodeid for path, nodeid in ((even, EVEN), (odd, ODD))}

    def resolve(self, nodeid: int, _fh: int | None, _writable: bool) -> int:  # noqa: FBT001
        match nodeid:
            case nodeid if nodeid in self.open:
                return self.open[nodeid].fileno()
            case nodeid if nodeid == GONE:
                raise FileNotFoundError(errno.ENOENT, "gone")
            case nodeid if nodeid == CLOSED:
                return -1
            case nodeid if nodeid == DIRECTORY:
                return self.directory
        raise ValueError(nodeid)

    def close(self) -> None:
        for file in self.open.values():
            file.close()
        os.close(self.directory)


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    files = Files(tmp_path)
    yield files
    files.close()


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(requests, max_size=30), st.booleans())
def test_replies_and_book_are_the_models(files: Files, sequence: list[Any_], as_buffer: bool) -> None:  # noqa: FBT001
    backend = HostWindowBackend()
    model = Model()
    with DaxMapper(0, SIZE, backend, max_mappings=MOST) as mapper:
        dispatcher = DaxDispatcher(mapper, files.resolve)
        for wanted in sequence:
            message = wanted.build()
            reply = dispatcher.handle(bytearray(message) if as_buffer else message)
            expected = model.answer(wanted)
            assert (None if reply is None else told(reply)) == expected
            assert {
                live.window_offset: (live.length, live.file_offset, files.nodeid[live.ino], live.writable)
                for live in mapper
            } == model.book
        assert mapper.stats().remove_count == model.removed
    backend.release()


@settings(deadline=None, max_examples=500)
@given(st.binary(max_size=200) | st.binary(max_size=8).map(lambda tail: b"P\0\0\0000\0\0\0" + tail.ljust(72, b"\2")))
def test_any_bytes_get_a_well_formed_reply_or_none(message: bytes) -> None:
    dispatcher = DaxDispatcher(None, lambda *_: -1)
    reply = dispatcher.handle(message)
    if reply is not None:
        header = OutHeader.parse(reply)
        assert (len(reply), header.length) == (16, 16)
        assert header.unique == int.from_bytes(message[8:16], "little")
        assert -512 < header.error < 0
