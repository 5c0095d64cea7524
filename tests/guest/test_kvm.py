"""A real KVM guest and the host files in its DAX window."""

import os
import platform
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import ENOMEM, ENOTSUP, ENOTTY
from pathlib import Path
from types import FrameType

import pytest

from daxmap import DaxMapper, KvmBackend, guest
from daxmap.exits import Fault, Halted
from daxmap.kvm import Vm
from daxmap.kvm.vcpu import Vcpu, fault
from support import attacks
from support.children import run_in_child
from support.forks import in_fork
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
    open_files,
    open_vm,
)
from support.host import PAGE
from support.limits import errno_of, little_memory
from support.programs import TIMEOUT
from support.rig import Rig


def reserved_bytes(address: int, size: int) -> int:
    """How many bytes of the host address range are mapped without any access."""
    total = 0
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, access = line.split()[:2]
        start, end = (int(part, 16) for part in span.split("-"))
        if access.startswith("---"):
            total += max(0, min(end, address + size) - max(start, address))
    return total


@contextmanager
def alarms(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
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

    def stop(_signal: int, frame: FrameType | None) -> None:
        if frame is not None and frame.f_code is Vcpu.run.__code__:  # not while the vCPU is still being made
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise AlarmError

    before = open_files("kvm-vcpu")
    with pytest.raises(AlarmError), alarms(stop):
        vm.run(attacks.loop())
    assert open_files("kvm-vcpu") == before
    assert vm.run(guest.load(0x8000)) == Halted((0,))


def test_closed_vm_leaves_no_descriptor_and_no_mapping() -> None:
    def held() -> tuple[int, int]:
        return open_files("kvm"), Path("/proc/self/maps").read_text().count("kvm-vcpu")

    before = held()
    with open_vm() as vm:
        vm.run(guest.load(BASE))  # refused: on x86 this vCPU is given up
        vm.run(guest.load(0))
        assert open_files("kvm-vm") > 0
        assert open_files("kvm-vcpu") > 0
        vm.close()
        assert held() == before
    assert held() == before


def test_close_in_a_forked_child_leaves_the_parents_machine(vm: Vm) -> None:
    vm.run(guest.store(0x8000, MARK))
    in_fork(vm.close)
    assert vm.run(guest.load(0x8000)) == Halted((MARK,))


def test_vm_that_is_dropped_unclosed_is_destroyed_with_a_warning() -> None:
    before = open_files("kvm")
    vm = open_vm()
    vm.run(guest.load(0))
    with pytest.warns(ResourceWarning, match="unclosed file"):
        del vm
    assert open_files("kvm") == before


def test_closed_vm_has_no_descriptor_to_give_and_runs_nothing(vm: Vm) -> None:
    vm.close()
    with pytest.raises(ValueError, match="closed"):
        vm.fd  # noqa: B018
    with pytest.raises(ValueError, match="closed"):
        vm.run(guest.load(0))


def ram_that_the_process_may_not_have(_rig: Rig) -> None:
    before = open_files("kvm")
    with little_memory(1 << 30):
        assert errno_of(lambda: Vm("4GiB")) == ENOMEM
    assert open_files("kvm") == before


def test_ram_that_cannot_be_had_leaves_no_descriptor(tmp_path: Path) -> None:
    run_in_child(ram_that_the_process_may_not_have, "kvm", tmp_path)


@pytest.mark.parametrize("ram_size", [0, -1, RAM_SIZE + 1, "2MB", (4 << 30) + PAGE, 1 << 64])
def test_ram_that_cannot_be_is_named(ram_size: int | str) -> None:
    with pytest.raises(ValueError, match=r"^ram_size: "):
        Vm(ram_size)


@pytest.mark.usefixtures("needs_kvm")
def test_machine_stands_for_its_descriptor() -> None:
    with Vm("2MiB") as vm, DaxMapper(RAM_SIZE, "2MiB", KvmBackend(vm, 1)) as mapper:
        assert mapper.size == 2 << 20
        assert vm.fileno() == vm.fd
    with pytest.raises(ValueError, match="the machine is closed"):
        vm.run(guest.load(0))


def test_program_that_is_no_machine_code_is_named(vm: Vm) -> None:
    with pytest.raises(TypeError, match="program: str is neither a Program nor bytes"):
        vm.run("hlt")  # type: ignore[arg-type]
    assert vm.run(guest.load(0x8000)) == Halted((0,))


def test_device_that_is_not_kvm_is_refused() -> None:
    assert errno_of(lambda: Vm(RAM_SIZE, device="/dev/null")) == ENOTTY


def test_host_of_another_architecture_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "ppc64le")
    with pytest.raises(OSError, match="not for ppc64le") as caught:
        Vm(RAM_SIZE)
    assert caught.value.errno == ENOTSUP


# What EFAULT tells. No KVM can be relied on to tell it, so these are bytes as api.rst has them.


def run_struct(exit_reason: int, *union: int) -> bytes:
    return struct.pack(f"<8xI20x{len(union)}Q", exit_reason, *union)


def test_fault_has_the_address_of_a_memory_fault_exit() -> None:
    flags, gpa, size = 1 << 3, 0x1234_5000, PAGE
    assert fault(run_struct(39, flags, gpa, size)) == Fault(gpa)
    assert str(Fault(gpa)).endswith("in the page at 0x12345000")


@pytest.mark.parametrize("exit_reason", [0, 2, 6])
def test_fault_has_no_address_where_kvm_tells_none(exit_reason: int) -> None:
    assert fault(run_struct(exit_reason, 0, 0x1234_5000, PAGE)) == Fault(None)


def test_import_of_the_package_does_not_import_the_machines() -> None:
    code = "import sys, daxmap; print({'daxmap.kvm', 'daxmap.unicorn', 'daxmap.guest'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True, timeout=TIMEOUT)
    assert done.stdout == "set()\n"


# The window.


@pytest.mark.parametrize(
    ("program", "is_write"),
    [
        pytest.param(guest.load, False, id="load"),
        pytest.param(lambda address: guest.store(address, MARK), True, id="store"),
    ],
)
def test_touch_past_the_end_of_a_truncated_file_is_an_exit(
    vm: Vm, mapper: DaxMapper, tmp_path: Path, program: Callable[[int], guest.Program], *, is_write: bool
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
