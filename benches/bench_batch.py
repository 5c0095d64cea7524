"""Many mappings that go at once: FUSE_REMOVEMAPPING of 256 entries, and a device's reset.

Contender and floor have a window each: how the one leaves its holes is not to matter to the other.
"""

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from random import Random
from time import perf_counter

import pytest

from benches.compare import Compare, Timed
from benches.floor import SLOT
from benches.windows import LIVE, Windows, every_other

ENTRIES = 256
"""What a Linux guest with pages of 4 KiB puts into one request at most."""
ADJACENT = range(0, ENTRIES * SLOT, SLOT)
SHUFFLED = Random(0).sample(ADJACENT, ENTRIES)  # noqa: S311
SPREAD = every_other(0, ENTRIES)

Pair = tuple[Windows, Windows]
CASES = pytest.mark.parametrize(
    ("name", "offsets", "bar"),
    [("adjacent", ADJACENT, 0.80), ("shuffled", SHUFFLED, 0.85), ("every other slot", SPREAD, 1.25)],
)


@pytest.fixture
def both(floor: ctypes.CDLL, fd: int) -> Iterator[Pair]:
    """A window for the contender, and one for the floor."""
    with ExitStack() as stack:
        yield stack.enter_context(Windows(floor, fd)), stack.enter_context(Windows(floor, fd))


def timed(prepare: Callable[[], object], call: Callable[[], object], operations: int) -> Timed:
    """Only the call is timed."""

    def prepared() -> float:
        prepare()
        start = perf_counter()
        call()
        return (perf_counter() - start) / operations

    return prepared


def mapped(windows: Windows, offsets: Sequence[int]) -> Callable[[], None]:
    """Has the mapper map all offsets."""

    def prepare() -> None:
        for offset in offsets:
            windows.mapper.setup_mapping(windows.fd, 0, offset, SLOT, writable=False)

    return prepare


def batch(windows: Windows, offsets: Sequence[int]) -> Timed:
    """All entries in one call."""
    entries = [(offset, SLOT) for offset in offsets]
    return timed(mapped(windows, offsets), lambda: windows.mapper.remove_mappings(entries), len(entries))


def one_by_one(windows: Windows, offsets: Sequence[int]) -> Timed:
    """One call an entry."""
    remove = windows.mapper.remove_mapping

    def call() -> None:
        for offset in offsets:
            remove(offset, SLOT)

    return timed(mapped(windows, offsets), call, len(offsets))


def one_mmap_each(windows: Windows, offsets: Sequence[int]) -> Timed:
    """The obvious C loop over the entries."""
    work, floor = windows.work(offsets), windows.floor
    return timed(lambda: floor.places(work, 0), lambda: floor.clears(work), len(offsets))


@CASES
def test_batch(compare: Compare, both: Pair, name: str, offsets: Sequence[int], bar: float) -> None:
    one_call, calls = batch(both[0], offsets), one_by_one(both[1], offsets)
    compare(f"removal of {ENTRIES}, {name}", one_call, calls, against="one call an entry", bar=bar)


@CASES
def test_batch_against_c(compare: Compare, both: Pair, name: str, offsets: Sequence[int], bar: float) -> None:
    one_call, calls = batch(both[0], offsets), one_mmap_each(both[1], offsets)
    compare(f"removal of {ENTRIES}, {name}", one_call, calls, against="one mmap an entry, C", bar=bar)


@pytest.mark.parametrize(
    ("name", "offsets"), [("adjacent", range(0, LIVE * SLOT, SLOT)), ("every other slot", every_other(0, LIVE))]
)
def test_reset(compare: Compare, both: Pair, name: str, offsets: Sequence[int]) -> None:
    windows = both[0]
    reset = timed(mapped(windows, offsets), windows.mapper.reset, len(offsets))
    calls = one_by_one(both[1], offsets)
    compare(f"reset of {LIVE:,}, {name}", reset, calls, against="one call an entry", bar=1.00, rounds=100)
