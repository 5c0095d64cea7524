"""Whether the number of live mappings matters."""

import ctypes
from time import perf_counter

import pytest

from benches.compare import Compare, Timed
from benches.floor import SLOT, Book
from benches.foreign import ScanningMapper
from benches.windows import GIB, PairMapper, Windows, every_other, per_operation

PAGE = 4096
MANY = 10_000
FREE = every_other(GIB // SLOT // 2, 100)
"""Slots in the upper half of a window of 1 GiB. Pages are mapped in the lower half, so they never neighbour them."""


def packed(pages: int) -> range:
    """Window offsets of mapped pages, one beside the other."""
    return range(0, pages * PAGE, PAGE)


@pytest.mark.parametrize(("live", "bar"), [(1000, None), (MANY, None), (32_000, 1.25)])
def test_many_live(compare: Compare, floor: ctypes.CDLL, fd: int, live: int, bar: float | None) -> None:
    with Windows(floor, fd, packed(1), length=PAGE, size=GIB) as few:
        pairs_among_few = few.pairs(FREE)
        with Windows(floor, fd, length=PAGE, size=GIB) as many:
            for offset in packed(live):
                many.mapper.setup_mapping(fd, 0, offset, PAGE, writable=False)
            compare(f"pair, {live:,} live", many.pairs(FREE), pairs_among_few, against="pair, 1 live", bar=bar)


def setups(mapper: PairMapper, fd: int) -> Timed:
    """Only the setups are timed."""

    def timed() -> float:
        start = perf_counter()
        for offset in FREE:
            mapper.setup_mapping(fd, 0, offset, SLOT, False)  # noqa: FBT003
        seconds = perf_counter() - start
        for offset in FREE:
            mapper.remove_mapping(offset, SLOT)
        return seconds / len(FREE)

    return timed


def test_full_scan_from_python(compare: Compare, floor: ctypes.CDLL, fd: int) -> None:
    with Windows(floor, fd, packed(MANY), length=PAGE, size=GIB) as windows:
        scanning = ScanningMapper(windows.bare, dict.fromkeys(packed(MANY), PAGE))
        compare(
            f"setup, {MANY:,} live",
            setups(windows.mapper, fd),
            setups(scanning, fd),
            against="dict scanned in Python",
            bar=1 / 12,
            rounds=20,
        )


def test_full_scan_from_c(compare: Compare, floor: ctypes.CDLL, fd: int) -> None:
    with Windows(floor, fd, packed(MANY), length=PAGE, size=GIB) as windows:
        book, work = Book(packed(MANY), PAGE), windows.work(FREE)
        scan = per_operation(lambda: floor.scanning_places(work, book), len(FREE))

        def scanning() -> float:
            seconds = scan()
            floor.clears(work)
            return seconds

        compare(f"setup, {MANY:,} live", setups(windows.mapper, fd), scanning, against="packed array scanned in C")
