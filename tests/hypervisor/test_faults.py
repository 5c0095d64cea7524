"""Whichever call of a hypervisor or backend fails: its book, the mapper's, the host's memory and the counters agree."""

import os
from collections.abc import Callable, Iterator
from ctypes import c_size_t, c_void_p
from errno import EEXIST, EIO, ENODEV, ENOENT

import pytest

from support.files import HostFile
from support.host import LIBC, PAGE, peek, vmas
from support.recording import BASE, AnyRecorder, Fault, RecordingHypervisor, check_books

REFUSALS = {
    "value": Fault(returns=5),
    "exception": Fault(raises=RuntimeError("no")),
    "urgent exception": Fault(raises=KeyboardInterrupt()),
    "late exception": Fault(raises=RuntimeError("no"), works_first=True),
    "late urgent exception": Fault(raises=KeyboardInterrupt(), works_first=True),
}


class Run:
    """A run of operations in which each method is called in each of its uses. Window offset is file offset in all."""

    def __init__(self, recorder: AnyRecorder, faults: dict[int, Fault], file: HostFile) -> None:
        self._recorder = recorder
        self._recorder.faults = faults
        self._mapper = recorder.mapper()
        self._file = file
        self._read_only_fd = os.open(file.path, os.O_RDONLY)

    def go(self, *, settles: bool) -> None:
        """Make all calls, and check after each that all books agree; at the end, settle or drain."""
        try:
            for step in self._steps():
                if self._make(step):
                    self._check_memory()
                self._check_books()
            if settles:
                self.settle()
            self._make(self._mapper.drain_all)
            self._check_books()
            self._check_memory()
            calls = len(self._recorder.calls)
            with pytest.raises(OSError, match="closed") as caught:
                self._setup(0, PAGE, writable=False)
            assert caught.value.errno == ENODEV
            self._mapper.close()
            assert len(self._recorder.calls) == calls, "called after the drain"
        finally:
            os.close(self._read_only_fd)
            self._free_leaked()

    def _steps(self) -> Iterator[Callable[[], object]]:
        mapper = self._mapper
        yield lambda: self._setup(0, PAGE, writable=False)
        yield lambda: self._setup(PAGE, PAGE, writable=False, fd=self._read_only_fd)
        yield lambda: self._setup(2 * PAGE, 2 * PAGE, writable=True)
        yield lambda: self._setup(0, PAGE, writable=True)  # where it can be, by protect
        yield lambda: self._setup(PAGE, PAGE, writable=True)  # by unmap and map, under a hypervisor
        yield lambda: mapper.remove_mapping(0, PAGE)
        yield lambda: mapper.remove_mappings([(PAGE, PAGE), (2 * PAGE, 2 * PAGE)])
        yield lambda: self._setup(0, 4 * PAGE, writable=False)
        yield lambda: self._setup(PAGE, PAGE, writable=True, replace=True)  # in the middle
        yield lambda: self._setup(0, 2 * PAGE, writable=True, replace=True)  # one and another
        yield lambda: mapper.remove_range(PAGE, 2 * PAGE)
        yield lambda: self._setup(0, 4 * PAGE, writable=False, replace=True)
        yield lambda: mapper.refresh(self._file.fd)
        yield lambda: mapper.remove_range(PAGE, PAGE)
        yield lambda: self._setup(PAGE, PAGE, writable=True)
        yield mapper.reset
        yield lambda: self._setup(0, PAGE, writable=False)
        yield lambda: self._setup(PAGE, PAGE, writable=False, fd=self._read_only_fd)

    def _setup(self, offset: int, length: int, *, writable: bool, fd: int | None = None, replace: bool = False) -> None:
        fd = self._file.fd if fd is None else fd
        self._mapper.setup_mapping(fd, offset, offset, length, writable, replace=replace)

    def settle(self) -> None:
        """With no more faults, what is unknown is found out: no range is out of use, and all memory is freed."""
        self._recorder.faults = {}
        self._setup(0, 4 * PAGE, writable=True, replace=True)
        self._check_books()
        assert self._recorder.shown() == {0: (4 * PAGE, True)}
        self._mapper.remove_range(0, 4 * PAGE)
        assert self._recorder.book == {}
        assert mapped_pages(self._file) == {}

    def _make(self, step: Callable[[], object]) -> bool:
        """Make a call, and return whether it met a fault. If it met none, it may fail since an earlier one did."""
        before = len(self._recorder.calls)
        failure: BaseException | None = None
        try:
            step()
        except (OSError, KeyboardInterrupt) as error:
            failure = error
        made = range(before, len(self._recorder.calls))
        faults = [fault for number, fault in self._recorder.faults.items() if number in made]
        urgent = any(isinstance(fault.raises, KeyboardInterrupt) for fault in faults)
        assert isinstance(failure, KeyboardInterrupt) == urgent
        if isinstance(failure, OSError):
            expected = {EIO} if faults else {EEXIST, ENOENT}
            if self._recorder.in_doubt:
                expected |= {EIO}  # what is unknown may be found out now, or not
            assert failure.errno in expected, failure
        return bool(faults)

    def _check_books(self) -> None:
        recorder, mapper = self._recorder, self._mapper
        if mapper.closed:
            stats = mapper.stats()
            assert stats.leaked_count <= len(recorder.book) <= stats.leaked_count + stats.lost_count
            assert list(mapper) == []
        else:
            check_books(recorder, mapper)

    def _check_memory(self) -> None:
        """Check that the host maps what the guest was given, and else at most what it may have been given.

        The kernel takes a while to tell.
        """
        given: dict[int, int] = {}
        if isinstance(self._recorder, RecordingHypervisor):
            for guest_address, memory in self._recorder.book.items():
                offset = guest_address - BASE
                assert peek(memory.host_address, memory.length) == self._file.read(offset, memory.length)
                given |= {memory.host_address + page: offset + page for page in range(0, memory.length, PAGE)}
        mapped = mapped_pages(self._file)
        if self._recorder.in_doubt and self._mapper.stats().lost_count:
            assert given.items() <= mapped.items()
        else:
            assert mapped == given

    def _free_leaked(self) -> None:
        """Give back what the mapper must not free, since this process lives on."""
        for address in mapped_pages(self._file):
            assert LIBC.munmap(c_void_p(address), c_size_t(PAGE)) == 0


def mapped_pages(file: HostFile) -> dict[int, int]:
    """The file offset of each page of this process that shows the file, by address."""
    return {
        address: address - vma.shown.origin
        for vma in vmas()
        if vma.shown.inode == file.inode
        for address in range(vma.start, vma.end, PAGE)
    }


def run(kind: type[AnyRecorder], faults: dict[int, Fault], file: HostFile) -> list[str]:
    """Make the run with these faults, to either end, and return the names of the calls that it drains with."""
    names: list[str] = []
    for settles in (True, False):
        recorder = kind()
        try:
            Run(recorder, dict(faults), file).go(settles=settles)
        except AssertionError as error:
            error.add_note(f"faults at {sorted(faults)} of the calls {recorder.names}, {settles=}")
            raise
        names = recorder.names
    return names


def test_run_without_faults_uses_every_method(kind: type[AnyRecorder], file: HostFile) -> None:
    names = run(kind, {}, file)
    assert set(names) == {"map", "unmap", "protect"} & set(dir(kind))


@pytest.mark.parametrize("fault", REFUSALS.values(), ids=REFUSALS)
def test_any_one_call_fails(kind: type[AnyRecorder], file: HostFile, fault: Fault) -> None:
    for number in range(len(run(kind, {}, file))):
        run(kind, {number: fault}, file)


PAIRS = {
    "value, value": ("value", "value"),
    "exception, exception": ("exception", "exception"),
    "late exception, value": ("late exception", "value"),
    "late exception, late exception": ("late exception", "late exception"),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_any_two_calls_close_to_each_other_fail(kind: type[AnyRecorder], file: HostFile, pair: tuple[str, str]) -> None:
    """No operation, and no way back from one, takes more than a few calls."""
    one, other = (REFUSALS[name] for name in pair)
    for first in range(len(run(kind, {}, file))):
        for second in range(first + 1, first + 7):
            run(kind, {first: one, second: other}, file)


def test_every_call_from_one_on_fails(kind: type[AnyRecorder], file: HostFile) -> None:
    for first in range(len(run(kind, {}, file))):
        run(kind, dict.fromkeys(range(first, 100), REFUSALS["exception"]), file)
