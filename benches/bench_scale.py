"""Large windows, and many of them."""

import ctypes
from contextlib import ExitStack
from time import perf_counter

import pytest

from benches.bench_pair import OBVIOUS
from benches.compare import Compare
from benches.floor import SLOT
from benches.windows import GIB, Windows, every_other
from daxmap import DaxMapper, HostWindowBackend

SIZES = {"1 GiB": GIB, "64 GiB": 64 * GIB, "1 TiB": 1024 * GIB}


@pytest.mark.parametrize("mappers", [8, 64])
def test_many_mappers(compare: Compare, floor: ctypes.CDLL, fd: int, mappers: int) -> None:
    """Pairs in all mappers by turns, against as many in one."""
    slots = every_other(1, 100)
    with ExitStack() as stack:
        windows = [stack.enter_context(Windows(floor, fd, size=GIB)) for _ in range(mappers)]
        calls = [(window.mapper.setup_mapping, window.mapper.remove_mapping) for window in windows]

        def by_turns() -> float:
            start = perf_counter()
            for index, offset in enumerate(slots):
                setup, remove = calls[index % mappers]
                setup(fd, 0, offset, SLOT, False)  # noqa: FBT003
                remove(offset, SLOT)
            return (perf_counter() - start) / len(slots)

        compare(f"pair, {mappers} mappers by turns", by_turns, windows[0].pairs(slots), against="pair, 1 mapper")


@pytest.mark.parametrize("name", SIZES)
def test_pair_in_a_large_window(compare: Compare, floor: ctypes.CDLL, fd: int, name: str) -> None:
    slots = every_other(1, 200)
    with Windows(floor, fd, size=SIZES[name]) as windows:
        compare(f"pair, window of {name}", windows.pairs(slots), windows.obvious_pairs(slots), against=OBVIOUS)


@pytest.mark.parametrize("name", [*SIZES, "8 GiB"])
def test_making_a_mapper(compare: Compare, floor: ctypes.CDLL, name: str) -> None:
    size = {**SIZES, "8 GiB": 8 * GIB}[name]

    def make() -> float:
        backend = HostWindowBackend()
        start = perf_counter()
        mapper = DaxMapper(0, size, backend)
        seconds = perf_counter() - start
        mapper.drain_all()
        backend.release()
        return seconds

    def reserve() -> float:
        start = perf_counter()
        window = floor.reserve(size, SLOT)
        seconds = perf_counter() - start
        floor.release(window, size)
        return seconds

    compare(f"mapper made, window of {name}", make, reserve, against="bare reservation", rounds=50)
