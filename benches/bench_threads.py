"""Many threads: how much two of them get done, and what a third notices while the kernel is busy."""

import ctypes
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

from benches.bench_pair import GAP
from benches.compare import Compare, Figure, spread
from benches.windows import LIVE, Windows, every_other

TICK = 0.0002
"""Seconds that the ticking thread sleeps."""
ROUND = 0.5
"""Seconds of ticks in a round."""
ROUNDS = 8
CROWDED = (64 << 20, 128)
"""Bytes of memory, and how often it is mapped: a change of access to all takes the kernel about 0.1 s."""


@contextmanager
def running(*bodies: Callable[[], object]) -> Iterator[None]:
    """A thread for each, which has to end by itself."""
    threads = [threading.Thread(target=body) for body in bodies]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join()


def test_two_threads(compare: Compare, floor: ctypes.CDLL, fd: int) -> None:
    with Windows(floor, fd, every_other(0, LIVE)) as windows:
        offsets = [*GAP] * 10
        halves = [windows.pairs(offsets[::2]), windows.pairs(offsets[1::2])]

        def together() -> float:
            start = perf_counter()
            with running(*halves):
                pass
            return (perf_counter() - start) / len(offsets)

        alone = windows.pairs(offsets)
        compare("pairs, two threads on one mapper", together, alone, against="as many, one thread", rounds=50)


def worst_tick() -> float:
    """The 99th percentile of the lengths of a round's ticks, in seconds."""
    lengths = []
    start = last = perf_counter()
    while last - start < ROUND:
        time.sleep(TICK)
        now = perf_counter()
        lengths.append(now - last)
        last = now
    return spread(lengths, 100)[-1]


def test_tick_of_another_thread(compare: Compare, floor: ctypes.CDLL, fd: int) -> None:
    """One thread keeps the kernel busy, another waits for it in the mapper, and this one wants to go on."""
    holding, stop = ctypes.c_int(), ctypes.c_int()
    with Windows(floor, fd, every_other(0, LIVE)) as windows:
        one_pair = windows.pairs(GAP[:1])

        def beside_a_mapper() -> float:
            enough = threading.Event()

            def map_and_remove() -> None:
                while not enough.is_set():
                    one_pair()

            with running(map_and_remove):
                try:
                    return worst_tick()
                finally:
                    enough.set()

        with running(lambda: floor.hold(*CROWDED, holding, stop)):
            try:
                while not holding.value:
                    time.sleep(TICK)
                times = compare.once(lambda: [(beside_a_mapper(), worst_tick()) for _ in range(ROUNDS)])
            finally:
                stop.value = 1
    beside, alone = zip(*times, strict=True)
    low, median, high = (seconds * 1000 for seconds in spread(beside))
    compare.keep(
        Figure(
            f"tick of {TICK * 1000} ms, another thread maps while a third holds mmap_lock, p99",
            "no thread maps",
            median,
            low,
            high,
            bar=2,
            unit=" ms",
            contender=median / 1000,
            floor=spread(alone)[1],
        )
    )
