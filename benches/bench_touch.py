"""A guest's first touch of a mapping whose pages are in the host's page cache, with and without `prefault=True`."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter

import pytest

from benches.compare import Compare, Timed
from benches.floor import SLOT
from benches.windows import GIB, Windows

PAGE = 4096
CHUNK = 128 << 10
TMPFS = Path("/dev/shm")  # noqa: S108


def file_system(path: Path) -> str:
    """The type of the file system that holds a path: that of its device in /proc/self/mountinfo."""
    device = path.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, rest = line.partition(" - ")
        if mount.split()[2] == wanted:
            return rest.split()[0]
    return "unknown"


@pytest.fixture(params=["disk", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, int]]:
    """A file of 2 MiB in the page cache, on a disk's file system and on tmpfs: the type's name, and a descriptor."""
    directory = tmp_path if request.param == "disk" else TMPFS
    if not directory.is_dir():
        pytest.skip(f"no {directory}")
    path = directory / f"daxmap-touch-{os.getpid()}"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC)
    path.unlink()
    os.write(descriptor, bytes(range(256)) * (SLOT // 256))
    # Into the cache as files mostly come there: by being read. What one large write leaves there is in larger pieces.
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    for offset in range(0, SLOT, CHUNK):
        os.pread(descriptor, CHUNK, offset)
    yield file_system(directory), descriptor
    os.close(descriptor)


def first_touch(windows: Windows, length: int, *, writing: bool, with_setup: bool) -> Timed:
    """A word of each page of a new mapping is read or written. Setting it up counts too, or not."""
    mapper, floor, fd, address = windows.mapper, windows.floor, windows.fd, windows.address

    def timed() -> float:
        start = perf_counter()
        mapper.setup_mapping(fd, 0, 0, SLOT, writing)
        if not with_setup:
            start = perf_counter()
        floor.touch(address, length, PAGE, writing)
        seconds = perf_counter() - start
        mapper.remove_mapping(0, SLOT)
        return seconds

    return timed


@pytest.mark.parametrize("with_setup", [True, False])
@pytest.mark.parametrize(
    ("name", "length", "writing"),
    [("one page read", PAGE, False), ("all read", SLOT, False), ("all written", SLOT, True)],
)
def test_prefault(
    compare: Compare,
    floor: ctypes.CDLL,
    place: tuple[str, int],
    name: str,
    length: int,
    *,
    writing: bool,
    with_setup: bool,
) -> None:
    kind, fd = place
    with ExitStack() as stack:
        plain = stack.enter_context(Windows(floor, fd, size=GIB))
        prefaulting = stack.enter_context(Windows(floor, fd, size=GIB, prefault=True))
        contender = first_touch(prefaulting, length, writing=writing, with_setup=with_setup)
        without = first_touch(plain, length, writing=writing, with_setup=with_setup)
        what = f"{'setup and first touch' if with_setup else 'first touch alone'}, {kind}, {name}, prefault"
        compare(what, contender, without, against="no prefault")


def written(windows: Windows, *, populated: bool) -> Timed:
    """Every page of a new writable mapping is written; if `populated`, they are brought in first."""
    floor, work = windows.floor, windows.work([0])

    def timed() -> float:
        floor.places(work, 1)
        start = perf_counter()
        if populated:
            floor.populate(windows.bare, SLOT)
        floor.touch(windows.bare, SLOT, PAGE, 1)
        seconds = perf_counter() - start
        floor.clears(work)
        return seconds

    return timed


def test_populating_a_writable_mapping(compare: Compare, floor: ctypes.CDLL, place: tuple[str, int]) -> None:
    """Tried, and not done by the mapper."""
    kind, fd = place
    with Windows(floor, fd, size=GIB) as windows:
        populated, plain = written(windows, populated=True), written(windows, populated=False)
        compare(f"first touch, {kind}, all written, MADV_POPULATE_READ", populated, plain, against="plain faults, C")
