"""Guests that run real machine code, and the host files in their DAX windows."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import pytest

from daxmap import DaxMapper, HypervisorBackend, KvmBackend, guest
from daxmap.exits import Exit, Halted, Stopped
from daxmap.guest import Program, arm64
from support.guests import (
    BASE,
    FILE_SIZE,
    MARK,
    RAM_SIZE,
    SIZE,
    checksum,
    is_refusal,
    make_file,
    map_file,
    open_vm,
    word,
)
from support.host import PAGE

HOLE = BASE + FILE_SIZE


class Machine(Protocol):
    def run(self, program: Program | bytes) -> Exit: ...


Made = tuple[Machine, KvmBackend | HypervisorBackend]


def make_kvm() -> Iterator[Made]:
    with open_vm() as machine:
        yield machine, KvmBackend(machine.fd, 1)


def make_unicorn() -> Iterator[Made]:
    pytest.importorskip("unicorn", reason="unicorn is not installed", exc_type=ImportError)
    from daxmap.unicorn import UnicornVm  # noqa: PLC0415

    machine = UnicornVm(RAM_SIZE)
    yield machine, HypervisorBackend(machine)


@pytest.fixture(params=[make_kvm, make_unicorn])
def made(request: pytest.FixtureRequest) -> Iterator[Made]:
    yield from request.param()


@pytest.fixture
def vm(made: Made) -> Machine:
    return made[0]


@pytest.fixture
def mapper(made: Made) -> Iterator[DaxMapper]:
    with DaxMapper(BASE, SIZE, made[1]) as mapper:
        yield mapper


# The programs, in RAM alone.


def test_programs_do_in_ram_what_they_say(vm: Machine) -> None:
    assert vm.run(guest.store(0x8000, 0xFEDC_BA98)) == Halted(())
    assert vm.run(guest.store(0x8004, 0x0200_0000)) == Halted(())
    assert vm.run(guest.load(0x8000)) == Halted((0xFEDC_BA98,))
    assert vm.run(guest.copy(0x8000, 0x9000, 8)) == Halted(())
    assert vm.run(guest.load(0x9004)) == Halted((0x0200_0000,))
    assert vm.run(guest.load(0x9008)) == Halted((0,))
    assert vm.run(guest.checksum(0x9000, 12)) == Halted((0x00DC_BA98,))


@pytest.mark.parametrize("length", [-4, 0, 3, 4097])
def test_program_of_a_length_that_is_not_words_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match=str(length)):
        guest.copy(0, 0, length)
    with pytest.raises(ValueError, match=str(length)):
        guest.checksum(0, length)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: guest.load(1 << 32), "address: 0x100000000"),
        (lambda: guest.store(-1, 0), "address: -0x1"),
        (lambda: guest.store(0, 1 << 32), "value: 0x100000000"),
        (lambda: guest.copy(1 << 32, 0, 4), "source: 0x100000000"),
        (lambda: guest.copy(0, 1 << 32, 4), "target: 0x100000000"),
        (lambda: guest.checksum(1 << 32, 4), "address: 0x100000000"),
    ],
)
def test_number_over_32_bits_is_named_and_refused(make: Callable[[], Program], named: str) -> None:
    with pytest.raises(OverflowError, match=f"^{named} is not in the range 0 to 0xffffffff"):
        make()


def test_program_that_does_not_fit_into_ram_is_refused(vm: Machine) -> None:
    with pytest.raises(ValueError, match="don't fit"):
        vm.run(bytes(RAM_SIZE))


def test_refused_access_is_never_completed(vm: Machine) -> None:
    vm.run(guest.store(0x8000, MARK))
    assert is_refusal(vm.run(guest.load(BASE)), BASE, is_write=False)
    assert vm.run(guest.load(0x8000)) == Halted((MARK,))
    assert is_refusal(vm.run(guest.store(BASE, MARK)), BASE, is_write=True)
    assert vm.run(guest.load(0x8000)) == Halted((MARK,))


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(Program(b"\x0f\x0b", arm64.code(0x0000_0000)), id="undefined"),  # ud2; udf 0
        pytest.param(Program(b"\xe4\x10", arm64.code(0xD400_0001)), id="nobody answers"),  # in al, 0x10; svc 0
        pytest.param(Program(b"\xe7\x11", arm64.code(0xD420_0000)), id="nobody listens"),  # out 0x11, eax; brk 0
    ],
)
def test_program_that_cannot_go_on_is_stopped(vm: Machine, program: Program) -> None:
    assert isinstance(vm.run(program), Stopped)
    assert vm.run(guest.load(0x8000)) == Halted((0,))


def test_guest_reads_a_read_only_mapping(vm: Machine, mapper: DaxMapper, tmp_path: Path) -> None:
    content = make_file(tmp_path / "file")
    map_file(mapper, tmp_path / "file")
    assert vm.run(guest.load(BASE + PAGE)) == Halted((word(content, PAGE),))
    assert vm.run(guest.checksum(BASE, FILE_SIZE)) == Halted((checksum(content),))


def test_guest_copies_one_file_into_another(vm: Machine, mapper: DaxMapper, tmp_path: Path) -> None:
    content = make_file(tmp_path / "source")
    make_file(tmp_path / "target")
    map_file(mapper, tmp_path / "source")
    map_file(mapper, tmp_path / "target", 2 << 20, writable=True)
    assert vm.run(guest.copy(BASE, BASE + (2 << 20), FILE_SIZE)) == Halted(())
    assert (tmp_path / "target").read_bytes() == content
    assert (tmp_path / "source").read_bytes() == content


@pytest.mark.parametrize("mode", ["rb", "r+b"])
def test_guest_writes_through_an_upgraded_mapping(vm: Machine, mapper: DaxMapper, tmp_path: Path, mode: str) -> None:
    path = tmp_path / "file"
    content = make_file(path)
    with path.open(mode) as file:
        mapper.setup_mapping(file, 0, 0, FILE_SIZE, writable=False)
    assert is_refusal(vm.run(guest.store(BASE + 8, MARK)), BASE + 8, is_write=True)
    map_file(mapper, path, writable=True)
    assert vm.run(guest.store(BASE + 8, MARK)) == Halted(())
    assert path.read_bytes() == content[:8] + MARK.to_bytes(4, "little") + content[12:]
    assert vm.run(guest.load(BASE + 8)) == Halted((MARK,))


def test_guest_sees_what_the_host_writes_to_the_file(vm: Machine, mapper: DaxMapper, tmp_path: Path) -> None:
    path = tmp_path / "file"
    make_file(path)
    map_file(mapper, path)
    with path.open("r+b") as file:
        file.write(MARK.to_bytes(4, "little"))
    assert vm.run(guest.load(BASE)) == Halted((MARK,))


def test_store_to_a_read_only_range_is_an_exit(vm: Machine, mapper: DaxMapper, tmp_path: Path) -> None:
    content = make_file(tmp_path / "file")
    map_file(mapper, tmp_path / "file")
    address = BASE + PAGE
    vm.run(guest.load(address))  # the page is in the guest's tables by now, for reading
    assert is_refusal(vm.run(guest.store(address, MARK)), address, is_write=True)
    assert (tmp_path / "file").read_bytes() == content
    assert vm.run(guest.checksum(BASE, FILE_SIZE)) == Halted((checksum(content),))


Access = Callable[[int], Program]
ACCESSES = [
    pytest.param(guest.load, False, id="load"),
    pytest.param(lambda address: guest.store(address, MARK), True, id="store"),
]


@pytest.mark.parametrize(("program", "is_write"), ACCESSES)
def test_touch_of_a_hole_is_an_exit(
    vm: Machine, mapper: DaxMapper, tmp_path: Path, program: Access, *, is_write: bool
) -> None:
    content = make_file(tmp_path / "file")
    map_file(mapper, tmp_path / "file", writable=True)
    for address in (HOLE, BASE + SIZE - 4):
        assert is_refusal(vm.run(program(address)), address, is_write=is_write)
    assert (tmp_path / "file").read_bytes() == content


@pytest.mark.parametrize(("program", "is_write"), ACCESSES)
def test_touch_of_a_removed_mapping_is_an_exit(
    vm: Machine, mapper: DaxMapper, tmp_path: Path, program: Access, *, is_write: bool
) -> None:
    content = make_file(tmp_path / "file")
    map_file(mapper, tmp_path / "file", writable=True)
    vm.run(guest.checksum(BASE, FILE_SIZE))
    mapper.remove_mapping(0, FILE_SIZE)
    assert is_refusal(vm.run(program(BASE)), BASE, is_write=is_write)
    assert (tmp_path / "file").read_bytes() == content


def test_guest_runs_while_another_thread_maps_and_removes(vm: Machine, mapper: DaxMapper, tmp_path: Path) -> None:
    content = make_file(tmp_path / "file")
    map_file(mapper, tmp_path / "file")
    with ThreadPoolExecutor() as pool:
        changes = [pool.submit(change, mapper, tmp_path / "file") for _ in range(8)]
        while not all(done.done() for done in changes):
            assert vm.run(guest.checksum(BASE, FILE_SIZE)) == Halted((checksum(content),))
    for done in changes:
        done.result()
    assert len(mapper) == 1


def change(mapper: DaxMapper, path: Path) -> None:
    """Maps and removes a file in a place that another thread may be using."""
    for _ in range(50):
        with suppress(FileExistsError, FileNotFoundError):
            map_file(mapper, path, FILE_SIZE)
            mapper.remove_mapping(FILE_SIZE, FILE_SIZE)
    with suppress(FileNotFoundError):
        mapper.remove_mapping(FILE_SIZE, FILE_SIZE)
