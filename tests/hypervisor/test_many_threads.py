"""Threads and callbacks at once: a mapper whose hypervisor is a Python object, which fails and looks back."""

import ctypes
import gc
import os
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from errno import EACCES, EDEADLK, EEXIST, EFAULT, EINVAL, EIO, ENODEV, ENOENT
from pathlib import Path
from random import Random

import pytest

from daxmap import DaxMapper
from support.children import run_in_child
from support.files import HostFile
from support.host import PAGE, vmas
from support.limits import errno_of
from support.recording import BASE, Fault, ProtectingHypervisor, RecordingHypervisor, check_books
from support.rig import Rig, check_balance

PAGES = 12
LARGEST = 2
"""Pages of the largest mapping."""
THREADS = 6
PATIENCE = 60
"""Seconds after which something hangs for sure."""
EXPECTED = {0, EACCES, EEXIST, EFAULT, EINVAL, EIO, ENOENT}


class Chaos:
    """Calls of the mapper at random, from many threads, and a hypervisor that fails and calls back at random."""

    def __init__(self, hypervisor: RecordingHypervisor, mapper: DaxMapper, file: HostFile) -> None:
        self.hypervisor = hypervisor
        self.mapper = mapper
        self.file = file
        self.outcomes: Counter[int] = Counter()
        self._random = Random(1)  # noqa: S311
        self._inside = threading.Lock()
        self.wrong: list[AssertionError] = []
        """What a callback found: raised there it would be a refusal."""
        hypervisor.on_call = self._call_back

    def _call_back(self) -> None:
        try:
            self._look_back()
        except AssertionError as error:
            self.wrong.append(error)

    def _look_back(self) -> None:
        """In each callback, with the mapper's lock held: nobody else is in one."""
        assert self._inside.acquire(blocking=False), "two callbacks at once"
        try:
            dice = self._random.random()
            if dice < 0.02:
                gc.collect()
            elif dice < 0.5:
                os.sched_yield()
                calls = self.mapper.reset, self.mapper.drain_all, lambda: list(self.mapper)
                assert {errno_of(call) for call in calls} == {EDEADLK}
                assert self.mapper.stats().live_mappings == len(self.mapper) <= PAGES
                assert not self.mapper.closed
            elif dice < 0.6:
                self.hypervisor.faults[len(self.hypervisor.calls) + 1] = Fault(raises=RuntimeError("no"))
        finally:
            self._inside.release()

    def call(self, random: Random) -> None:
        """One call."""
        mapper, offset = self.mapper, random.randrange(PAGES) * PAGE
        length = random.choice((PAGE, PAGE, LARGEST * PAGE))
        batch = [(random.randrange(PAGES) * PAGE, PAGE) for _ in range(4)]
        calls = [
            *[lambda: mapper.setup_mapping(self.file.fd, offset, offset, length, random.random() < 0.4)] * 6,
            *[lambda: mapper.remove_mapping(offset, length)] * 3,
            lambda: mapper.remove_mappings(batch),
            mapper.reset,
            lambda: mapper.read(BASE + offset, length),
            lambda: mapper.write(BASE + offset, b"x"),
            lambda: (list(mapper), mapper.lookup(offset), mapper.stats(), repr(mapper)),
        ]
        self.outcomes[errno_of(random.choice(calls))] += 1

    def call_often(self, seed: int, times: int) -> None:
        random = Random(seed)  # noqa: S311
        for _ in range(times):
            self.call(random)

    def call_until_closed(self, seed: int, under_way: threading.Barrier) -> None:
        random = Random(seed)  # noqa: S311
        for number in range(10**9):
            if number == 20:
                under_way.wait(PATIENCE)
            self.call(random)
            if self.mapper.closed:
                return


@pytest.fixture(params=[RecordingHypervisor, ProtectingHypervisor], ids=lambda kind: kind.__name__)
def chaos(request: pytest.FixtureRequest, tmp_path: Path) -> Chaos:
    hypervisor: RecordingHypervisor = request.param()
    return Chaos(hypervisor, hypervisor.mapper(), HostFile(tmp_path / "file", PAGES + 1))


def pages_of_the_guest(chaos: Chaos) -> set[int]:
    """The host address of each page that the guest was given."""
    book = chaos.hypervisor.book.values()
    return {page for given in book for page in range(given.host_address, given.host_address + given.length, PAGE)}


def pages_of_the_file(chaos: Chaos) -> set[int]:
    """The host address of each page of the file that this process maps."""
    areas = [vma for vma in vmas() if vma.shown.inode == chaos.file.inode]
    return {page for vma in areas for page in range(vma.start, vma.end, PAGE)}


def check_memory(chaos: Chaos) -> None:
    """Check that the process maps of the file what the guest was given, and else only what it may have been given."""
    given, mapped = pages_of_the_guest(chaos), pages_of_the_file(chaos)
    assert given <= mapped, "freed under the guest"
    assert len(mapped - given) <= LARGEST * chaos.mapper.stats().lost_count


def settle(chaos: Chaos) -> None:
    """Find out what the guest sees: a mapping that it is given settles a range, however that is with it."""
    chaos.hypervisor.on_call = lambda: None
    chaos.hypervisor.faults.clear()
    for page in range(PAGES + LARGEST):
        chaos.mapper.setup_mapping(chaos.file.fd, 0, page * PAGE, PAGE, writable=False, replace=True)
    chaos.mapper.remove_range(0, (PAGES + LARGEST) * PAGE)


def test_books_agree_after_calls_and_callbacks_at_random(chaos: Chaos) -> None:
    with chaos.mapper, ThreadPoolExecutor(THREADS) as pool:
        for call in [pool.submit(chaos.call_often, seed, 400) for seed in range(THREADS)]:
            call.result(PATIENCE)
        check_books(chaos.hypervisor, chaos.mapper)
        check_memory(chaos)
        assert chaos.wrong == []
        assert set(chaos.outcomes) == EXPECTED
        settle(chaos)
    assert not chaos.hypervisor.book
    assert not pages_of_the_file(chaos)
    chaos.file.close()


@pytest.mark.parametrize("_round", range(5))
def test_nothing_survives_a_drain_and_nothing_is_called_after_it(chaos: Chaos, _round: int) -> None:
    under_way = threading.Barrier(THREADS)
    with ThreadPoolExecutor(THREADS) as pool:
        calls = [pool.submit(chaos.call_until_closed, seed, under_way) for seed in range(THREADS - 1)]
        under_way.wait(PATIENCE)
        chaos.mapper.drain_all()
        made = len(chaos.hypervisor.calls)
        assert chaos.mapper.closed
        for call in calls:
            call.result(PATIENCE)
    assert chaos.wrong == []
    assert len(chaos.hypervisor.calls) == made
    stats = chaos.mapper.stats()
    assert stats.leaked_count <= len(chaos.hypervisor.book) <= stats.leaked_count + stats.lost_count
    check_balance(stats)
    assert set(chaos.outcomes) <= EXPECTED | {ENODEV}
    check_memory(chaos)
    chaos.file.close()


def program_that_ends_with_threads_at_work(rig: Rig) -> None:
    """They are in the middle of a call, or of a callback, when the interpreter goes away."""
    subject, fd = rig.open(), rig.file().fd
    under_way = threading.Barrier(THREADS + 1)

    def work(page: int) -> None:
        for number in range(10**9):
            if number == 10:
                under_way.wait(PATIENCE)
            with suppress(OSError):
                subject.mapper.setup_mapping(fd, 0, page * PAGE, PAGE, writable=False)
                subject.mapper.remove_mapping(page * PAGE, PAGE)

    for page in range(THREADS):
        threading.Thread(target=work, args=[page], daemon=True).start()
    under_way.wait(PATIENCE)
    subject.abandon()
    rig.close = lambda: None  # type: ignore[method-assign]
    # All threads may have ended just before the interpreter does. Then the mapper would be dropped, with a warning.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(subject.mapper))


@pytest.mark.parametrize("backend", ["host-window", "hypervisor"])
def test_program_may_end_with_threads_at_work(backend: str, tmp_path: Path) -> None:
    run_in_child(program_that_ends_with_threads_at_work, backend, tmp_path)
