"""Hypervisors and backends that are Python objects: they keep a book of their own, and fail when they are told to."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from daxmap import Access, DaxMapper, HypervisorBackend
from support.host import PAGE
from support.rig import check_balance

BASE = 1 << 32
SIZE = 64 * PAGE


@dataclass(frozen=True)
class Fault:
    """What a call does in place of its work, or after it."""

    raises: BaseException | None = None
    returns: object = None
    works_first: bool = False


class Recorder:
    """Counts its calls, and has faults at some of them."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        """The name of each method called, and its arguments."""
        self.faults: dict[int, Fault] = {}
        """By the number of the call."""
        self.on_call: Callable[[], object] = lambda: None
        """Made inside each call, before anything else."""
        self.misuses: list[str] = []
        """What a mapper must never ask for."""
        self.in_doubt = False
        """Whether a call has raised, or an undoing may have been refused: the mapper may not know all that is shown."""
        self._has_refused = False

    @property
    def names(self) -> list[str]:
        """What was called."""
        return [call[0] for call in self.calls]

    def fail_next(self, *faults: Fault | None) -> None:
        """Have the next calls fail, one with each fault; None is for a call that does its work."""
        for number, fault in enumerate(faults, start=len(self.calls)):
            if fault is not None:
                self.faults[number] = fault

    def forget_doubts(self) -> None:
        """From now on the mapper has to know what is shown."""
        self.in_doubt = self._has_refused = False

    def refuse_use(self, text: str) -> NoReturn:
        """Refuse what a mapper asks for only where it can't know better."""
        if not self.in_doubt:
            self.misuses.append(text)
        raise ValueError(text)

    def called(self, call: tuple[Any, ...], work: Callable[[], None]) -> int | None:
        """Do the work of a call, or what it is told instead."""
        fault = self.faults.get(len(self.calls))
        self.calls.append(call)
        self.on_call()
        if fault is None:
            work()
            return None
        if fault.works_first:
            work()
        self.in_doubt |= self._has_refused or fault.raises is not None
        self._has_refused = True
        if fault.raises is not None:
            raise fault.raises
        return cast("int | None", fault.returns)  # whatever it is: the mapper has to cope


@dataclass(frozen=True)
class Given:
    """Host memory that a guest was given."""

    host_address: int
    length: int
    access: Access


class RecordingHypervisor(Recorder):
    """A hypervisor without `protect`. Like a real one it refuses what does not fit its book."""

    def __init__(self) -> None:
        super().__init__()
        self.book: dict[int, Given] = {}
        """By guest address."""

    def mapper(self, *, readonly: bool = False, max_mappings: int | None = None) -> DaxMapper:
        """A mapper for this hypervisor."""
        return DaxMapper(BASE, SIZE, HypervisorBackend(self), readonly=readonly, max_mappings=max_mappings)

    def shown(self) -> dict[int, tuple[int, bool]]:
        """What the guest is shown: length and writability by window offset."""
        return {
            address - BASE: (given.length, bool(given.access & Access.WRITE)) for address, given in self.book.items()
        }

    def map(self, host_address: int, guest_address: int, length: int, access: Access) -> int | None:
        def work() -> None:
            for address, given in self.book.items():
                if guest_address < address + given.length and address < guest_address + length:
                    self.refuse_use(f"map over {address:#x}")
            self.book[guest_address] = Given(host_address, length, access)

        return self.called(("map", host_address, guest_address, length, access), work)

    def unmap(self, guest_address: int, length: int) -> int | None:
        def work() -> None:
            self.given(guest_address, length)
            del self.book[guest_address]

        return self.called(("unmap", guest_address, length), work)

    def given(self, guest_address: int, length: int) -> Given:
        """What exactly this range was given."""
        given = self.book.get(guest_address)
        if given is None or given.length != length:
            raise LookupError(f"the guest has nothing at {guest_address:#x}, +{length:#x}")
        return given


class ProtectingHypervisor(RecordingHypervisor):
    """A hypervisor with `protect`."""

    def protect(self, guest_address: int, length: int, access: Access) -> int | None:
        def work() -> None:
            given = self.given(guest_address, length)
            self.book[guest_address] = Given(given.host_address, length, access)

        return self.called(("protect", guest_address, length, access), work)


@dataclass(frozen=True)
class Placed:
    """A file that a backend shows."""

    inode: int
    file_offset: int
    length: int
    writable: bool


class RecordingBackend(Recorder):
    """A whole backend, without `protect`."""

    def __init__(self) -> None:
        super().__init__()
        self.book: dict[int, Placed] = {}
        """By window offset."""

    def mapper(self, *, readonly: bool = False, max_mappings: int | None = None) -> DaxMapper:
        """A mapper for this backend."""
        return DaxMapper(BASE, SIZE, self, readonly=readonly, max_mappings=max_mappings)

    def shown(self) -> dict[int, tuple[int, bool]]:
        """What the guest is shown: length and writability by window offset."""
        return {offset: (placed.length, placed.writable) for offset, placed in self.book.items()}

    def map(self, fd: int, file_offset: int, window_offset: int, length: int, writable: bool) -> int | None:  # noqa: FBT001
        def work() -> None:
            for offset, placed in self.book.items():
                if window_offset < offset + placed.length and offset < window_offset + length:
                    self.refuse_use(f"map over {offset:#x}")
            self.book[window_offset] = Placed(os.fstat(fd).st_ino, file_offset, length, writable)

        return self.called(("map", fd, file_offset, window_offset, length, writable), work)

    def unmap(self, window_offset: int, length: int) -> int | None:
        def work() -> None:
            self.placed(window_offset, length)
            del self.book[window_offset]

        return self.called(("unmap", window_offset, length), work)

    def placed(self, window_offset: int, length: int) -> Placed:
        """What exactly this range shows."""
        placed = self.book.get(window_offset)
        if placed is None or placed.length != length:
            raise LookupError(f"nothing at {window_offset:#x}, +{length:#x}")
        return placed


class ProtectingBackend(RecordingBackend):
    """A whole backend with `protect`."""

    def protect(self, fd: int, window_offset: int, length: int, writable: bool) -> int | None:  # noqa: FBT001
        def work() -> None:
            placed = self.placed(window_offset, length)
            self.book[window_offset] = Placed(os.fstat(fd).st_ino, placed.file_offset, length, writable)

        return self.called(("protect", fd, window_offset, length, writable), work)


AnyRecorder = RecordingHypervisor | RecordingBackend
RECORDERS: list[type[AnyRecorder]] = [
    RecordingHypervisor,
    ProtectingHypervisor,
    RecordingBackend,
    ProtectingBackend,
]


def check_books(recorder: AnyRecorder, mapper: DaxMapper) -> None:
    """Check that mapper and counters say what the recorder shows.

    Of a range of which the mapper can't know whether the guest sees it, its book says nothing.
    """
    assert recorder.misuses == []
    shown = recorder.shown()
    book = {info.window_offset: (info.length, info.writable) for info in mapper}
    stats = mapper.stats()
    if recorder.in_doubt and stats.lost_count:
        assert book.items() <= shown.items()
    else:
        assert book == shown
    assert len(mapper) == stats.live_mappings == len(book)
    assert stats.live_bytes == sum(length for length, _ in book.values())
    check_balance(stats)
