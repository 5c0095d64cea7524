"""A real KVM guest and the host files in its DAX window."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from daxmap import DaxMapper, KvmBackend
from daxmap.demo import guest
from daxmap.demo.kvm import Exit, Fault, Halted, Mmio, Stopped, Vm

PAGE = 4096
RAM_SIZE = 2 << 20
BASE = RAM_SIZE
SIZE = 64 << 20
FILE_SIZE = 4 * PAGE
HOLE = BASE + FILE_SIZE
MARK = 0x2158_4144


def open_vm() -> Vm:
    try:
        return Vm(RAM_SIZE)
    except OSError as error:
        pytest.skip(f"KVM cannot be used: {error}")


@pytest.fixture
def vm() -> Iterator[Vm]:
    with open_vm() as machine:
        yield machine


@pytest.fixture
def mapper(vm: Vm) -> Iterator[DaxMapper]:
    with DaxMapper(BASE, SIZE, KvmBackend(vm.fd, 1)) as mapper:
        yield mapper


def make_file(path: Path) -> bytes:
    content = os.urandom(FILE_SIZE)
    path.write_bytes(content)
    return content


def map_file(mapper: DaxMapper, path: Path, window_offset: int = 0, *, writable: bool = False) -> None:
    """Maps the whole file through an fd that is closed again when the mapping stands."""
    with path.open("r+b" if writable else "rb") as file:
        mapper.setup_mapping(file, 0, window_offset, FILE_SIZE, writable)


def checksum(content: bytes) -> int:
    return sum(word(content, offset) for offset in range(0, len(content), 4)) % 2**32


def word(content: bytes, offset: int = 0) -> int:
    return int.from_bytes(content[offset : offset + 4], "little")


def is_refusal(end: Exit, address: int, *, is_write: bool) -> bool:
    """EFAULT where the CPU runs the guest, an MMIO exit for that very access where KVM emulates it."""
    return end in (Fault(), Mmio(address, is_write))


def open_files(kind: str) -> int:
    """How many descriptors of the process are of this kind: "kvm-vm", "kvm-vcpu", or "kvm" for any."""
    links = (str(entry.readlink()) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink())
    return sum(kind in link for link in links)


def reserved_bytes(address: int, size: int) -> int:
    """How many bytes of the host address range are mapped without any access."""
    total = 0
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, access = line.split()[:2]
        start, end = (int(part, 16) for part in span.split("-"))
        if access.startswith("---"):
            total += max(0, min(end, address + size) - max(start, address))
    return total


# The VMM and the programs, in RAM alone.


def test_programs_do_in_ram_what_they_say(vm: Vm) -> None:
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


def test_program_of_an_address_over_32_bits_is_refused() -> None:
    with pytest.raises(OverflowError):
        guest.load(1 << 32)


def test_program_that_does_not_fit_into_ram_is_refused(vm: Vm) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        vm.run(bytes(RAM_SIZE))


def test_refused_access_is_never_completed(vm: Vm) -> None:
    vm.run(guest.store(0x8000, MARK))
    assert is_refusal(vm.run(guest.load(BASE)), BASE, is_write=False)
    assert vm.run(guest.load(0x8000)) == Halted((MARK,))
    assert is_refusal(vm.run(guest.store(BASE, MARK)), BASE, is_write=True)
    assert vm.run(guest.load(0x8000)) == Halted((MARK,))


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(b"\x0f\x0b", id="ud2 without a handler: a triple fault"),
        pytest.param(b"\xe4\x10", id="in al, 0x10: nobody answers"),
        pytest.param(b"\xe7\x11", id="out 0x11, eax: nobody listens"),
    ],
)
def test_program_that_cannot_go_on_is_stopped(vm: Vm, program: bytes) -> None:
    assert isinstance(vm.run(program), Stopped)
    assert vm.run(guest.load(0x8000)) == Halted((0,))


@contextmanager
def alarms(handler: Callable[[int, object], None]) -> Iterator[None]:
    """SIGALRM every millisecond."""
    previous = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def test_signals_do_not_end_the_program(vm: Vm) -> None:
    ticks = 0

    def tick(_signal: int, _frame: object) -> None:
        nonlocal ticks
        ticks += 1

    with alarms(tick):
        while not ticks:
            assert vm.run(guest.checksum(0x8000, 0x8000)) == Halted((0,))


def test_signal_handler_that_raises_ends_the_program_and_its_vcpu(vm: Vm) -> None:
    class AlarmError(Exception):
        pass

    def stop(_signal: int, _frame: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        raise AlarmError

    before = open_files("kvm-vcpu")
    with pytest.raises(AlarmError), alarms(stop):
        vm.run(b"\xeb\xfe")  # here: jmp here
    assert open_files("kvm-vcpu") == before
    assert vm.run(guest.load(0x8000)) == Halted((0,))


def test_closed_vm_leaves_no_descriptor_and_no_mapping() -> None:
    def held() -> tuple[int, int]:
        return open_files("kvm"), Path("/proc/self/maps").read_text().count("kvm-vcpu")

    before = held()
    with open_vm() as vm:
        vm.run(guest.load(BASE))  # refused: this vCPU is given up
        vm.run(guest.load(0))
        assert open_files("kvm-vm") > 0
        assert open_files("kvm-vcpu") > 0
        vm.close()
        assert held() == before
    assert held() == before


# The window.


def test_guest_reads_a_read_only_mapping(vm: Vm, mapper: DaxMapper, tmp_path: Path) -> None:
    content = make_file(tmp_path / "file")
    map_file(mapper, tmp_path / "file")
    assert vm.run(guest.load(BASE + PAGE)) == Halted((word(content, PAGE),))
    assert vm.run(guest.checksum(BASE, FILE_SIZE)) == Halted((checksum(content),))


def test_guest_copies_one_file_into_another(vm: Vm, mapper: DaxMapper, tmp_path: Path) -> None:
    content = make_file(tmp_path / "source")
    make_file(tmp_path / "target")
    map_file(mapper, tmp_path / "source")
    map_file(mapper, tmp_path / "target", 2 << 20, writable=True)
    assert vm.run(guest.copy(BASE, BASE + (2 << 20), FILE_SIZE)) == Halted(())
    assert (tmp_path / "target").read_bytes() == content
    assert (tmp_path / "source").read_bytes() == content


def test_guest_writes_through_an_upgraded_mapping(vm: Vm, mapper: DaxMapper, tmp_path: Path) -> None:
    path = tmp_path / "file"
    content = make_file(path)
    map_file(mapper, path)
    assert is_refusal(vm.run(guest.store(BASE + 8, MARK)), BASE + 8, is_write=True)
    map_file(mapper, path, writable=True)
    assert vm.run(guest.store(BASE + 8, MARK)) == Halted(())
    assert path.read_bytes() == content[:8] + MARK.to_bytes(4, "little") + content[12:]
    assert vm.run(guest.load(BASE + 8)) == Halted((MARK,))


def test_guest_sees_what_the_host_writes_to_the_file(vm: Vm, mapper: DaxMapper, tmp_path: Path) -> None:
    path = tmp_path / "file"
    make_file(path)
    map_file(mapper, path)
    with path.open("r+b") as file:
        file.write(MARK.to_bytes(4, "little"))
    assert vm.run(guest.load(BASE)) == Halted((MARK,))


def test_store_to_a_read_only_range_is_an_exit(vm: Vm, mapper: DaxMapper, tmp_path: Path) -> None:
    content = make_file(tmp_path / "file")
    map_file(mapper, tmp_path / "file")
    address = BASE + PAGE
    vm.run(guest.load(address))  # the page is in the guest's tables by now, for reading
    assert is_refusal(vm.run(guest.store(address, MARK)), address, is_write=True)
    assert (tmp_path / "file").read_bytes() == content
    assert vm.run(guest.checksum(BASE, FILE_SIZE)) == Halted((checksum(content),))


Program = Callable[[int], bytes]
ACCESSES = [
    pytest.param(guest.load, False, id="load"),
    pytest.param(lambda address: guest.store(address, MARK), True, id="store"),
]


@pytest.mark.parametrize(("program", "is_write"), ACCESSES)
def test_touch_of_a_hole_is_an_exit(
    vm: Vm, mapper: DaxMapper, tmp_path: Path, program: Program, *, is_write: bool
) -> None:
    content = make_file(tmp_path / "file")
    map_file(mapper, tmp_path / "file", writable=True)
    for address in (HOLE, BASE + SIZE - 4):
        assert is_refusal(vm.run(program(address)), address, is_write=is_write)
    assert (tmp_path / "file").read_bytes() == content


@pytest.mark.parametrize(("program", "is_write"), ACCESSES)
def test_touch_of_a_removed_mapping_is_an_exit(
    vm: Vm, mapper: DaxMapper, tmp_path: Path, program: Program, *, is_write: bool
) -> None:
    content = make_file(tmp_path / "file")
    map_file(mapper, tmp_path / "file", writable=True)
    vm.run(guest.checksum(BASE, FILE_SIZE))
    mapper.remove_mapping(0, FILE_SIZE)
    assert is_refusal(vm.run(program(BASE)), BASE, is_write=is_write)
    assert (tmp_path / "file").read_bytes() == content


@pytest.mark.parametrize(("program", "is_write"), ACCESSES)
def test_touch_past_the_end_of_a_truncated_file_is_an_exit(
    vm: Vm, mapper: DaxMapper, tmp_path: Path, program: Program, *, is_write: bool
) -> None:
    path = tmp_path / "file"
    content = make_file(path)
    map_file(mapper, path, writable=True)
    vm.run(guest.checksum(BASE, FILE_SIZE))
    os.truncate(path, PAGE)
    address = BASE + 2 * PAGE
    assert is_refusal(vm.run(program(address)), address, is_write=is_write)
    assert path.read_bytes() == content[:PAGE]
    assert vm.run(guest.checksum(BASE, PAGE)) == Halted((checksum(content[:PAGE]),))


# The slot.


def test_drain_deletes_the_slot(vm: Vm, mapper: DaxMapper, tmp_path: Path) -> None:
    content = make_file(tmp_path / "file")
    map_file(mapper, tmp_path / "file")
    mapper.drain_all()
    assert is_refusal(vm.run(guest.load(BASE)), BASE, is_write=False)
    # KVM refuses two slots over one range, and a slot that moves: both are free again.
    with DaxMapper(BASE, SIZE, KvmBackend(vm.fd, 2)) as other:
        map_file(other, tmp_path / "file")
        assert vm.run(guest.checksum(BASE, FILE_SIZE)) == Halted((checksum(content),))
    with DaxMapper(BASE + SIZE, SIZE, KvmBackend(vm.fd, 1)) as moved:
        map_file(moved, tmp_path / "file")
        assert vm.run(guest.checksum(BASE + SIZE, FILE_SIZE)) == Halted((checksum(content),))


def test_drain_frees_the_reservation(mapper: DaxMapper, tmp_path: Path) -> None:
    make_file(tmp_path / "file")
    map_file(mapper, tmp_path / "file")
    address = mapper.host_address
    assert address is not None
    assert reserved_bytes(address, SIZE) == SIZE - FILE_SIZE
    mapper.drain_all()
    assert reserved_bytes(address, SIZE) == 0
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()


def test_drained_mapper_lets_go_of_the_vm(vm: Vm, mapper: DaxMapper) -> None:
    before = open_files("kvm-vm")
    mapper.drain_all()
    assert open_files("kvm-vm") == before - 1
    vm.close()
    assert open_files("kvm-vm") == before - 2


def test_two_mappers_in_one_vm_have_a_slot_each(vm: Vm, mapper: DaxMapper, tmp_path: Path) -> None:
    content = make_file(tmp_path / "file")
    other_content = make_file(tmp_path / "other")
    other_base = BASE + SIZE
    map_file(mapper, tmp_path / "file")
    with DaxMapper(other_base, SIZE, KvmBackend(vm.fd, 2)) as other:
        map_file(other, tmp_path / "other", writable=True)
        assert vm.run(guest.checksum(BASE, FILE_SIZE)) == Halted((checksum(content),))
        assert vm.run(guest.checksum(other_base, FILE_SIZE)) == Halted((checksum(other_content),))
        assert vm.run(guest.copy(BASE, other_base, FILE_SIZE)) == Halted(())
        assert (tmp_path / "other").read_bytes() == content
    assert is_refusal(vm.run(guest.load(other_base)), other_base, is_write=False)
    assert vm.run(guest.checksum(BASE, FILE_SIZE)) == Halted((checksum(content),))
