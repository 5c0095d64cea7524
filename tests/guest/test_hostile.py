"""A real KVM guest that goes for what is not its own."""

import ctypes
import mmap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import EBUSY, EIO, ENOMEM
from pathlib import Path

import pytest

from daxmap import DaxMapper, KvmBackend, guest
from daxmap.exits import Exit, Fault, Halted, Mmio
from daxmap.guest import Program
from daxmap.kvm import Vm
from support import attacks, faults
from support.children import run_in_child
from support.damage import FREE, opened, setup
from support.faults import Call, Effect
from support.guests import machine_code
from support.host import LIBC, PAGE, peek
from support.limits import errno_of
from support.rig import Rig
from support.rigs import address_of

BASE = 4 << 20
"""With nothing below it up to the end of RAM, which is at 2 MiB."""
SIZE = 1 << 20
END = BASE + SIZE
WORD = 0x2158_4144
CONTENT = WORD.to_bytes(4, "little")
SECRET = 0x5EC2_E75E


@pytest.fixture
def mapper(vm: Vm) -> Iterator[DaxMapper]:
    with DaxMapper(BASE, SIZE, KvmBackend(vm.fd, 1)) as mapper:
        yield mapper


class Share:
    """A file whose every word is WORD, and what maps it."""

    def __init__(self, path: Path, mapper: DaxMapper) -> None:
        self.path = path
        self._mapper = mapper
        self.content = CONTENT * (SIZE // 4)
        path.write_bytes(self.content)

    def map(self, offset: int, length: int = PAGE, *, writable: bool = False) -> None:
        with self.path.open("r+b") as file:
            self._mapper.setup_mapping(file, offset, offset, length, writable)


@pytest.fixture
def share(mapper: DaxMapper, tmp_path: Path) -> Share:
    return Share(tmp_path / "file", mapper)


def is_refused(end: Exit) -> bool:
    return isinstance(end, Fault | Mmio)


def is_stopped(end: Exit) -> bool:
    """Where KVM emulates the guest, it gives up at some instructions that it would refuse.

    An arm64 CPU takes an exception for some: a jump to where no memory is, an exclusive access across words.
    """
    return not isinstance(end, Halted)


# Stores to what may only be read.


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(lambda at: guest.store(at, 1), id="store"),
        pytest.param(lambda at: attacks.add(at, 1), id="add"),
        pytest.param(lambda at: attacks.push(at + 4), id="push"),
        pytest.param(lambda at: attacks.fill(at, PAGE), id="fill"),
        pytest.param(lambda at: guest.copy(0x8000, at, PAGE), id="copy"),
    ],
)
@pytest.mark.parametrize("where", [0, 4 * PAGE, SIZE - PAGE], ids=["first", "middle", "last"])
def test_store_to_a_read_only_range_is_an_exit(
    vm: Vm, share: Share, attack: Callable[[int], Program], where: int
) -> None:
    share.map(where)
    assert vm.run(guest.load(BASE + where)) == Halted((WORD,))
    assert is_stopped(vm.run(attack(BASE + where)))
    assert share.path.read_bytes() == share.content
    assert vm.run(guest.load(BASE + where)) == Halted((WORD,))


def test_store_that_runs_into_a_read_only_range_stops_there(vm: Vm, share: Share) -> None:
    share.map(0, writable=True)
    share.map(PAGE)
    assert is_refused(vm.run(attacks.fill(BASE + PAGE - 64, 128)))
    written = share.path.read_bytes()
    assert written[: PAGE - 64] + written[PAGE:] == share.content[64:]
    assert is_refused(vm.run(guest.store(BASE + PAGE - 2, 0)))
    assert share.path.read_bytes()[PAGE:] == share.content[PAGE:]


# What is not in the window.


@contextmanager
def secrets_beside(mapper: DaxMapper) -> Iterator[None]:
    """Memory of the VMM's own on both sides of the window, full of SECRET."""
    assert mapper.host_address is not None
    length, secret = 16 * PAGE, SECRET.to_bytes(4, "little") * (4 * PAGE)
    made = []
    for start in (mapper.host_address - length, mapper.host_address + mapper.size):
        if map_where_nothing_is(start, length):  # or what others have there is as secret
            ctypes.memmove(start, secret, length)
            made.append(start)
    try:
        yield
        assert all(peek(start, length) == secret for start in made), "the guest wrote there"
    finally:
        for start in made:
            LIBC.munmap(ctypes.c_size_t(start), ctypes.c_size_t(length))


def map_where_nothing_is(start: int, length: int) -> bool:
    call = ctypes.CDLL(None).mmap  # a function of its own: its types are nobody else's
    call.restype = ctypes.c_size_t
    call.argtypes = (ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
    map_fixed_noreplace = 0x10_0000
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | map_fixed_noreplace
    address: int = call(start, length, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
    return address == start


def test_scan_finds_the_files_and_nothing_else(vm: Vm, mapper: DaxMapper, share: Share) -> None:
    mapped = range(0, SIZE, 6 * PAGE)
    for offset in (*mapped, SIZE - PAGE):
        share.map(offset, writable=True)
    with secrets_beside(mapper):
        for offset in range(-16 * PAGE, SIZE + 16 * PAGE, PAGE):
            for at in (BASE + offset, BASE + offset + PAGE - 4):
                is_there = offset in mapped or offset == SIZE - PAGE
                assert (vm.run(guest.load(at)) == Halted((WORD,))) == is_there, hex(at)
                assert is_refused(vm.run(guest.store(at, WORD))) != is_there, hex(at)


@pytest.mark.parametrize("across", [1, 2, 3])
@pytest.mark.parametrize("edge", [BASE, END, BASE + PAGE], ids=["start", "end", "hole"])
def test_access_across_an_edge_is_an_exit(vm: Vm, mapper: DaxMapper, share: Share, edge: int, across: int) -> None:
    share.map(0, writable=True)
    share.map(SIZE - PAGE, writable=True)
    with secrets_beside(mapper):
        assert is_refused(vm.run(guest.load(edge - across)))
        assert is_refused(vm.run(guest.store(edge - across, 0x6666_6666)))
        assert is_stopped(vm.run(attacks.add(edge - across, 1)))


def test_fill_stops_at_the_end_of_the_window(vm: Vm, mapper: DaxMapper, share: Share) -> None:
    share.map(SIZE - PAGE, writable=True)
    with secrets_beside(mapper):
        assert is_refused(vm.run(attacks.fill(END - 64, 4 * PAGE)))
    assert share.path.read_bytes() == share.content[:-64] + b"\xff" * 64


# Execution.


def test_what_can_be_read_can_be_executed(vm: Vm, share: Share) -> None:
    program = machine_code(attacks.report(0xC0DE))
    share.path.write_bytes(program + share.content[len(program) :])
    share.map(0)
    assert vm.run(attacks.jump(BASE)) == Halted((0xC0DE,))


@pytest.mark.parametrize("target", [BASE - PAGE, BASE + PAGE, END - 2 * PAGE, END], ids=hex)
def test_jump_to_a_hole_stops_the_guest(vm: Vm, mapper: DaxMapper, share: Share, target: int) -> None:
    share.map(0)
    share.map(SIZE - PAGE)
    with secrets_beside(mapper):
        assert is_stopped(vm.run(attacks.jump(target)))
    assert vm.run(guest.load(BASE)) == Halted((WORD,))


@pytest.mark.parametrize("edge", [BASE + PAGE, END], ids=["hole", "end"])
def test_execution_stops_where_the_mapping_ends(vm: Vm, mapper: DaxMapper, share: Share, edge: int) -> None:
    share.path.write_bytes(machine_code(attacks.slide(SIZE)))
    share.map(0)
    share.map(SIZE - PAGE)
    with secrets_beside(mapper):
        assert is_stopped(vm.run(attacks.jump(edge - 32)))


# A window that is given up.


def window_with_an_intruder(rig: Rig) -> None:
    subject = opened(rig)
    faults.plan(Call.DELETE_SLOT, faults.Fault(EBUSY))
    faults.plan(Call.PLACE, faults.Fault(ENOMEM, Effect.INTRUDE))
    assert errno_of(lambda: setup(subject)) == EIO
    assert faults.count(Call.DELETE_SLOT) == 2
    for page in range(0, 16 * PAGE, PAGE):
        assert rig.load(subject.mapper, page) is None
        assert not rig.store(subject.mapper, page, SECRET)
    assert faults.is_untouched_intruder(address_of(subject.mapper) + FREE)
    subject.abandon()


@pytest.mark.usefixtures("needs_kvm")
def test_window_that_is_given_up_is_cut_off_before_all_else_and_once_more(fault_library: Path, tmp_path: Path) -> None:
    """Memory of others is in it: the guest loses the slot at once, or when the mapper has closed if that failed."""
    run_in_child(window_with_an_intruder, "kvm", tmp_path, preload=fault_library)
