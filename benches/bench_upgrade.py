"""A live mapping changes: the read-only one becomes writable, or another file's range takes its place."""

import ctypes
from collections.abc import Sequence
from time import perf_counter

from benches.compare import Compare, Timed
from benches.floor import SLOT
from benches.windows import LIVE, Windows, every_other

OFFSETS = every_other(2 * LIVE + 1, 100)


def upgrades(windows: Windows, offsets: Sequence[int], *, in_place: bool) -> Timed:
    """Each offset made writable, in place or by way of a hole; only that is timed."""
    mapper, fd = windows.mapper, windows.fd

    def timed() -> float:
        for offset in offsets:
            mapper.setup_mapping(fd, 0, offset, SLOT, writable=False)
        start = perf_counter()
        for offset in offsets:
            if not in_place:
                mapper.remove_mapping(offset, SLOT)
            mapper.setup_mapping(fd, 0, offset, SLOT, writable=True)
        seconds = perf_counter() - start
        mapper.remove_mappings([(offset, SLOT) for offset in offsets])
        return seconds / len(offsets)

    return timed


def replacements(windows: Windows, offsets: Sequence[int]) -> Timed:
    """Each offset shows another range of the file from then on; only that is timed."""
    mapper, fd = windows.mapper, windows.fd

    def timed() -> float:
        for offset in offsets:
            mapper.setup_mapping(fd, 0, offset, SLOT, writable=False)
        start = perf_counter()
        for offset in offsets:
            mapper.setup_mapping(fd, SLOT, offset, SLOT, writable=True, replace=True)
        seconds = perf_counter() - start
        mapper.remove_mappings([(offset, SLOT) for offset in offsets])
        return seconds / len(offsets)

    return timed


def test_replacement(compare: Compare, floor: ctypes.CDLL, fd: int) -> None:
    with Windows(floor, fd, every_other(0, LIVE)) as windows:
        in_place = upgrades(windows, OFFSETS, in_place=True)
        compare(
            "replacement of one mapping", replacements(windows, OFFSETS), in_place, against="upgrade in place", bar=1.05
        )


def test_upgrade(compare: Compare, floor: ctypes.CDLL, fd: int) -> None:
    with Windows(floor, fd, every_other(0, LIVE)) as windows:
        in_place, with_a_hole = upgrades(windows, OFFSETS, in_place=True), upgrades(windows, OFFSETS, in_place=False)
        compare("upgrade in place", in_place, with_a_hole, against="remove, then set up")


def test_upgrade_against_a_pair(compare: Compare, floor: ctypes.CDLL, fd: int) -> None:
    with Windows(floor, fd, every_other(0, LIVE)) as windows:
        in_place = upgrades(windows, OFFSETS, in_place=True)
        compare("upgrade in place", in_place, windows.obvious_pairs(OFFSETS), against="obvious C loop of a pair")
