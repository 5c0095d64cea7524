"""Threads of tests/support/threads.c, seen from Python."""

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Visitor(ctypes.Structure):
    """Asks the kernel for memory all the time, and counts how often it lands in `[low, high)`."""

    _fields_ = (
        ("stop", ctypes.c_int),
        ("low", ctypes.c_size_t),
        ("high", ctypes.c_size_t),
        ("rounds", ctypes.c_ulong),
        ("landed", ctypes.c_ulong),
    )
    stop: int
    rounds: int
    landed: int


class Watcher(ctypes.Structure):
    """Reads a range all the time, and counts the reads that fault and those that find a zero byte."""

    _fields_ = (
        ("stop", ctypes.c_int),
        ("address", ctypes.c_size_t),
        ("length", ctypes.c_size_t),
        ("looks", ctypes.c_ulong),
        ("faults", ctypes.c_ulong),
        ("zeros", ctypes.c_ulong),
    )
    stop: int
    address: int
    looks: int
    faults: int
    zeros: int

    def look_at(self, address: int) -> None:
        """Turn to another range for good, and return when it was read from beginning to end."""
        self.address = address
        enough = self.looks + 2  # the one under way may be of a moment ago
        while self.looks < enough:
            os.sched_yield()


@contextmanager
def visiting(library: Path, low: int, high: int) -> Iterator[Visitor]:
    visitor = Visitor(low=low, high=high)
    with _running(library, "visit", visitor):
        while not visitor.rounds:
            os.sched_yield()
        yield visitor


@contextmanager
def watching(library: Path, length: int) -> Iterator[Watcher]:
    watcher = Watcher(length=length)
    with _running(library, "watch", watcher):
        yield watcher


@contextmanager
def _running(library: Path, function: str, state: Visitor | Watcher) -> Iterator[None]:
    work = getattr(ctypes.CDLL(str(library)), function)
    thread = threading.Thread(target=work, args=[ctypes.byref(state)])
    thread.start()
    try:
        yield
    finally:
        state.stop = 1
        thread.join()
