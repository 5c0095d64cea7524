"""A mapper's window, and beside it a bare one with the same neighbours for the floor."""

import ctypes
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from time import perf_counter
from types import TracebackType
from typing import Protocol, Self

from benches.compare import Timed
from benches.floor import SLOT, Work
from daxmap import DaxMapper, HostWindowBackend

GIB = 1 << 30
LIVE = 1000
"""How many mappings are live while others come and go, unless a benchmark says otherwise."""


class PairMapper(Protocol):
    """A mapper, as far as a pair needs one."""

    def setup_mapping(self, fd: int, file_offset: int, window_offset: int, length: int, writable: bool, /) -> None:  # noqa: FBT001
        """Sets a mapping up."""

    def remove_mapping(self, window_offset: int, length: int, /) -> None:
        """Removes it."""


class Windows:
    """Two windows that show the same: one behind a mapper, the other worked on by floor.c. A context manager.

    Args:
        floor: floor.c.
        fd: The file that all mappings show, from its start.
        live: Window offsets of the mappings that stay.
        length: Their length in bytes.
        size: That of each window.
        prefault: The mapper's.
    """

    def __init__(
        self,
        floor: ctypes.CDLL,
        fd: int,
        live: Sequence[int] = (),
        *,
        length: int = SLOT,
        size: int = 8 * GIB,
        prefault: bool = False,
    ) -> None:
        self.floor = floor
        self.fd = fd
        with ExitStack() as stack:
            backend = HostWindowBackend()
            stack.callback(backend.release)
            # A limit of its own: the budget of the process is for guests, and would end some benchmarks early.
            mapper = DaxMapper(0, size, backend, max_mappings=1 << 20, prefault=prefault)
            self.mapper = stack.enter_context(mapper)
            self.bare: int = floor.reserve(size, SLOT)
            stack.callback(floor.release, self.bare, size)
            for offset in live:
                self.mapper.setup_mapping(fd, 0, offset, length, writable=False)
            floor.places(self.work(live, length), 0)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def address(self) -> int:
        """Where the mapper's window lies."""
        address = self.mapper.host_address
        assert address is not None
        return address

    def work(self, offsets: Sequence[int], length: int = SLOT) -> Work:
        """The same offsets, as work for the floor in its own window."""
        return Work(self.bare, offsets, self.fd, length)

    def pairs(self, offsets: Sequence[int]) -> Timed:
        """Each offset set up and removed through the mapper."""
        return pairs(self.mapper, self.fd, offsets)

    def touched_pairs(self, offsets: Sequence[int]) -> Timed:
        """The same, with one byte of each mapping read in between."""
        setup, remove, fd = self.mapper.setup_mapping, self.mapper.remove_mapping, self.fd
        memory = memoryview((ctypes.c_ubyte * self.mapper.size).from_address(self.address)).cast("B")

        def timed() -> float:
            start = perf_counter()
            for offset in offsets:
                setup(fd, 0, offset, SLOT, False)  # noqa: FBT003
                memory[offset]
                remove(offset, SLOT)
            return (perf_counter() - start) / len(offsets)

        return timed

    def obvious_pairs(self, offsets: Sequence[int]) -> Timed:
        """Each offset set up and removed by the floor."""
        work, pairs = self.work(offsets), self.floor.pairs
        return per_operation(lambda: pairs(work, 0), len(offsets))


def pairs(mapper: PairMapper, fd: int, offsets: Sequence[int]) -> Timed:
    """Each offset set up and removed through a mapper."""
    setup, remove = mapper.setup_mapping, mapper.remove_mapping

    def timed() -> float:
        start = perf_counter()
        for offset in offsets:
            setup(fd, 0, offset, SLOT, False)  # noqa: FBT003
            remove(offset, SLOT)
        return (perf_counter() - start) / len(offsets)

    return timed


def per_operation(call: Callable[[], object], operations: int) -> Timed:
    """One call that makes many operations."""

    def timed() -> float:
        start = perf_counter()
        call()
        return (perf_counter() - start) / operations

    return timed


def every_other(first: int, count: int) -> range:
    """Offsets of slots with one slot between them and the next."""
    return range(first * SLOT, (first + 2 * count) * SLOT, 2 * SLOT)
