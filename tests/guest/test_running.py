"""What a guest sees of its window while that changes: the file, or an exit. It runs all the time, on a real CPU."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from daxmap import DaxMapper, HostWindowBackend, KvmBackend
from daxmap.exits import Exit, Fault, Mmio
from daxmap.guest import Program
from daxmap.kvm import Vm, set_memory_region
from support import attacks
from support.host import PAGE
from support.racers import visiting
from support.rigs import address_of
from support.second_cpu import SecondCpu

BASE = 4 << 20
SIZE = 4 << 20
PAGES = 4
LENGTH = PAGES * PAGE
BEAT = SIZE - PAGE
"""Where the guest counts its rounds."""
WORD = 0x2158_4144


Cpu = Callable[[Program], Exit]
"""Runs a program to its end."""


class Running:
    """A guest whose CPUs read the first pages of its window for ever. One that finds no WORD in a page halts."""

    def __init__(self, cpus: Sequence[Cpu], mapper: DaxMapper, directory: Path) -> None:
        self._cpus = cpus
        self.mapper = mapper
        self.file = self._create(directory / "file", WORD.to_bytes(4, "little") * (LENGTH // 4))
        self._beats = self._create(directory / "beats", bytes(PAGE))
        mapper.setup_mapping(self._beats, 0, BEAT, PAGE, writable=True)
        self.ends: list[Exit] = []
        self._threads: list[threading.Thread] = []

    @staticmethod
    def _create(path: Path, content: bytes) -> int:
        fd = os.open(path, os.O_RDWR | os.O_CREAT)
        os.write(fd, content)
        return fd

    def map(self, *, writable: bool = False) -> None:
        self.mapper.setup_mapping(self.file, 0, 0, LENGTH, writable)

    def start(self, pages: int = PAGES) -> None:
        """Return when each CPU is in its loop."""
        programs = [attacks.watch(BASE, pages, WORD, BASE + BEAT + 4 * cpu) for cpu in range(len(self._cpus))]
        self._threads = [
            threading.Thread(target=self._run, args=pair) for pair in zip(self._cpus, programs, strict=True)
        ]
        for thread in self._threads:
            thread.start()
        self.go_on()

    def _run(self, cpu: Cpu, program: Program) -> None:
        self.ends.append(cpu(program))

    def go_on(self) -> None:
        """Return when each CPU went round once more."""
        for cpu, thread in enumerate(self._threads):
            before = self._beat(cpu)
            while self._beat(cpu) < before + 2 and thread.is_alive():
                os.sched_yield()
            assert thread.is_alive(), self.ends

    def end(self) -> list[Exit]:
        """How the CPUs ended, which they have to do by themselves."""
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()
        ends, self.ends = self.ends, []
        assert len(ends) == len(self._cpus)
        return ends

    def close(self) -> None:
        self.mapper.drain_all()  # with their beats gone, the CPUs stop
        for thread in self._threads:
            thread.join()
        os.close(self.file)
        os.close(self._beats)

    def _beat(self, cpu: int) -> int:
        return int.from_bytes(os.pread(self._beats, 4, 4 * cpu), "little")


@contextmanager
def running(cpus: Sequence[Cpu], mapper: DaxMapper, directory: Path) -> Iterator[Running]:
    guest = Running(cpus, mapper, directory)
    try:
        yield guest
    finally:
        guest.close()


@pytest.fixture(params=[1, 2], ids=["one-cpu", "two-cpus"])
def cpus(request: pytest.FixtureRequest, vm: Vm) -> Iterator[Sequence[Cpu]]:
    with SecondCpu(vm) as second:
        yield [vm.run, second.run][: request.param]


@pytest.fixture
def backend(vm: Vm) -> KvmBackend:
    return KvmBackend(vm.fd, 1)


@pytest.fixture
def guest(cpus: Sequence[Cpu], backend: KvmBackend, tmp_path: Path) -> Iterator[Running]:
    with running(cpus, DaxMapper(BASE, SIZE, backend), tmp_path) as guest:
        yield guest


def check_refused(*ends: Exit) -> None:
    """Check that each CPU was stopped at an access, and has seen nothing but the file before."""
    assert all(isinstance(end, Fault | Mmio) for end in ends), ends


REMOVALS: dict[str, Callable[[Running], object]] = {
    "remove_mapping": lambda guest: guest.mapper.remove_mapping(0, LENGTH),
    "remove_mappings": lambda guest: guest.mapper.remove_mappings([(0, LENGTH), (BEAT, PAGE)]),
    "reset": lambda guest: guest.mapper.reset(),
    "drain_all": lambda guest: guest.mapper.drain_all(),
    "truncation": lambda guest: os.ftruncate(guest.file, PAGE),
}


@pytest.mark.parametrize("writable", [False, True], ids=["read-only", "writable"])
@pytest.mark.parametrize("how", REMOVALS)
def test_what_is_taken_away_ends_in_an_exit(guest: Running, how: str, *, writable: bool) -> None:
    guest.map(writable=writable)
    guest.start()
    REMOVALS[how](guest)
    check_refused(*guest.end())


def test_range_that_comes_and_goes_shows_the_file_or_nothing(guest: Running) -> None:
    for _ in range(50):
        guest.map()
        guest.start()
        guest.mapper.remove_mapping(0, LENGTH)
        check_refused(*guest.end())


def test_upgrades_and_changes_elsewhere_are_not_noticed(guest: Running) -> None:
    mapper, pages = guest.mapper, range(128)
    for page in pages:
        mapper.setup_mapping(guest.file, page % PAGES * PAGE, page * PAGE, PAGE, writable=False)
    guest.start(len(pages))
    elsewhere = [(offset, LENGTH) for offset in range(len(pages) * PAGE, BEAT - LENGTH, LENGTH)]
    for page in pages:
        mapper.setup_mapping(guest.file, page % PAGES * PAGE, page * PAGE, PAGE, writable=True)
        for offset, length in elsewhere[page % 8 :: 8]:
            mapper.setup_mapping(guest.file, 0, offset, length, writable=page % 2 == 0)
        assert mapper.remove_mappings(elsewhere).removed > 0
    guest.go_on()
    assert mapper.stats().upgrade_count == len(pages)


def test_replacements_and_cuts_are_not_noticed_where_the_same_bytes_stay(guest: Running) -> None:
    mapper, other = guest.mapper, os.memfd_create("other")
    os.ftruncate(other, 64 * PAGE)
    guest.map()
    guest.start()
    for number in range(200):
        mapper.setup_mapping(guest.file, 0, 0, 64 * PAGE, writable=number % 3 == 0, replace=True)
        mapper.setup_mapping(other, 0, LENGTH + number % 32 * PAGE, 2 * PAGE, writable=True, replace=True)
        mapper.remove_range(LENGTH, number % 50 * PAGE + PAGE)
        assert mapper.refresh(guest.file) > 0
    guest.go_on()
    os.close(other)
    assert mapper.stats().split_count > 0


def test_log_of_stores_comes_and_goes_unnoticed(guest: Running, backend: KvmBackend) -> None:
    guest.map()
    guest.start()
    for number in range(50):
        switch = backend.stop_dirty_log if number % 2 else backend.start_dirty_log
        switch()
        guest.mapper.setup_mapping(guest.file, 0, 0, LENGTH, writable=number % 3 == 0, replace=True)
        guest.go_on()


def test_stores_of_a_cpu_last_while_the_other_loads_and_the_host_maps(
    vm: Vm, backend: KvmBackend, tmp_path: Path
) -> None:
    tally = 8  # beside the words that the other CPU loads
    ends: list[Exit] = []

    def tallied(file: int) -> int:
        return int.from_bytes(os.pread(file, 4, tally), "little")

    with SecondCpu(vm) as second:
        thread = threading.Thread(target=lambda: ends.append(second.run(attacks.tally(BASE + tally))))
        with running([vm.run], DaxMapper(BASE, SIZE, backend), tmp_path) as loading:
            mapper, file = loading.mapper, loading.file
            loading.map(writable=True)
            loading.start()
            thread.start()
            for number in range(100):
                before = tallied(file)
                mapper.setup_mapping(file, 0, 0, (number % 64 + PAGES) * PAGE, writable=True, replace=True)
                mapper.remove_range(LENGTH, 64 * PAGE)
                mapper.refresh(file)
                while tallied(file) == before and thread.is_alive():
                    os.sched_yield()
                assert thread.is_alive(), ends
            loading.go_on()
        thread.join()
    check_refused(*ends)


def test_drained_vm_can_be_destroyed(vm: Vm, tmp_path: Path) -> None:
    with running([vm.run], DaxMapper(BASE, SIZE, KvmBackend(vm.fd, 1)), tmp_path) as guest:
        guest.map()
        guest.start()
        guest.mapper.drain_all()
        check_refused(*guest.end())
        vm.close()


def test_addresses_are_nobodys_until_they_are_released(
    vm: Vm, tmp_path: Path, compile_c: Callable[[str], Path]
) -> None:
    """Under a slot of the VMM's own, which outlives the drain: other threads' memory never shows in it."""
    backend = HostWindowBackend()
    mapper = DaxMapper(BASE, SIZE, backend)
    low = address_of(mapper)
    set_memory_region(vm.fd, 1, BASE, SIZE, low)
    with visiting(compile_c("threads"), low, low + SIZE) as visitor:
        with running([vm.run], mapper, tmp_path) as guest:
            guest.map()
            guest.start()
            mapper.drain_all()
            check_refused(*guest.end())
            rounds = visitor.rounds
            while visitor.rounds < rounds + 100:
                check_refused(vm.run(attacks.watch(BASE, PAGES, 0, BASE + BEAT)))
        set_memory_region(vm.fd, 1, BASE, 0, low)
        landed = visitor.landed
        backend.release()
    assert landed == 0
