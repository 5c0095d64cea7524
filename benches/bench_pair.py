"""What a Linux guest does most: a mapping of 2 MiB is set up, and removed later."""

import ctypes

from benches.compare import Compare
from benches.floor import SLOT
from benches.windows import LIVE, Windows, every_other, per_operation

OBVIOUS = "obvious C loop"
OPERATIONS = 50
GAP = every_other(2 * LIVE + 1, OPERATIONS)
"""Slots with holes on both sides, past the live mappings."""
DENSE = every_other(1, OPERATIONS)
"""Slots between two live mappings."""


def test_gap(compare: Compare, floor: ctypes.CDLL, fd: int) -> None:
    with Windows(floor, fd, every_other(0, LIVE)) as windows:
        compare("pair, gap", windows.pairs(GAP), windows.obvious_pairs(GAP), against=OBVIOUS, bar=1.10)


def test_dense(compare: Compare, floor: ctypes.CDLL, fd: int) -> None:
    with Windows(floor, fd, every_other(0, LIVE)) as windows:
        compare("pair, dense", windows.pairs(DENSE), windows.obvious_pairs(DENSE), against=OBVIOUS, bar=1.70)


def test_gap_with_one_page_touched(compare: Compare, floor: ctypes.CDLL, fd: int) -> None:
    with Windows(floor, fd, every_other(0, LIVE)) as windows:
        work = windows.work(GAP)
        touched = per_operation(lambda: floor.pairs(work, 1), len(GAP))
        compare("pair, gap, one page touched", windows.touched_pairs(GAP), touched, against=OBVIOUS, bar=1.50)


def test_system_calls_of_the_mapper(compare: Compare, floor: ctypes.CDLL, fd: int) -> None:
    with Windows(floor, fd, every_other(0, LIVE)) as windows:
        work = windows.work(GAP)
        # Their own holes lie between obvious ones, and after the first round stay apart from them.
        bare = per_operation(lambda: floor.bare_pairs(work), len(GAP))
        beside = every_other(GAP[-1] // SLOT + 10, OPERATIONS)
        compare("C loop of the mapper's calls", bare, windows.obvious_pairs(beside), against=OBVIOUS)
