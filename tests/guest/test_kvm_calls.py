"""The calls of KVM that `daxmap.kvm` offers to a VMM."""

import ctypes
import fcntl
import mmap
import os
from collections.abc import Iterator
from errno import EEXIST, EINVAL, ENOTSUP, ENOTTY

import pytest

from daxmap import guest
from daxmap.exits import Halted, Mmio
from daxmap.kvm import (
    DEVICE,
    KVM_CAP_NR_MEMSLOTS,
    KVM_CAP_READONLY_MEM,
    KVM_MEM_LOG_DIRTY_PAGES,
    KVM_MEM_READONLY,
    RAM_SLOT,
    Vm,
    capability,
    check_api_version,
    set_memory_region,
)
from support.dirty_log import take_dirty_pages
from support.guests import BASE, MARK, is_refusal
from support.host import PAGE
from support.limits import errno_of

SIZE = 4 * PAGE
SLOT = 1


class Memory:
    """Memory of the VMM's own."""

    def __init__(self) -> None:
        self.bytes = mmap.mmap(-1, SIZE)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.bytes))

    def word(self, offset: int) -> int:
        return int.from_bytes(self.bytes[offset : offset + 4], "little")


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def kvm_fd() -> Iterator[int]:
    try:
        fd = os.open(DEVICE, os.O_RDWR)
    except OSError as error:
        pytest.skip(f"KVM cannot be used: {error}")
    yield fd
    os.close(fd)


def test_guest_sees_the_memory_of_a_slot_until_it_is_deleted(vm: Vm, memory: Memory) -> None:
    set_memory_region(vm.fd, SLOT, BASE, SIZE, memory.address)
    assert vm.run(guest.store(BASE + PAGE, MARK)) == Halted(())
    assert memory.word(PAGE) == MARK
    assert vm.run(guest.load(BASE + PAGE)) == Halted((MARK,))
    set_memory_region(vm.fd, SLOT, BASE, 0, memory.address)
    assert is_refusal(vm.run(guest.load(BASE + PAGE)), BASE + PAGE, is_write=False)


def test_slot_may_be_moved_in_the_guest(vm: Vm, memory: Memory) -> None:
    memory.bytes[:4] = MARK.to_bytes(4, "little")
    set_memory_region(vm.fd, SLOT, BASE, SIZE, memory.address)
    set_memory_region(vm.fd, SLOT, BASE + SIZE, SIZE, memory.address)
    assert vm.run(guest.load(BASE + SIZE)) == Halted((MARK,))
    assert is_refusal(vm.run(guest.load(BASE)), BASE, is_write=False)


def test_store_to_a_read_only_slot_is_an_mmio_exit(vm: Vm, memory: Memory) -> None:
    assert capability(vm.fd, KVM_CAP_READONLY_MEM) == 1
    set_memory_region(vm.fd, SLOT, BASE, SIZE, memory.address, flags=KVM_MEM_READONLY)
    assert vm.run(guest.load(BASE)) == Halted((0,))
    assert vm.run(guest.store(BASE + 8, MARK)) == Mmio(BASE + 8, is_write=True)
    assert memory.word(8) == 0


def test_pages_that_the_guest_writes_are_noted_in_the_dirty_log(vm: Vm, memory: Memory) -> None:
    set_memory_region(vm.fd, SLOT, BASE, SIZE, memory.address, flags=KVM_MEM_LOG_DIRTY_PAGES)
    vm.run(guest.store(BASE + 2 * PAGE, MARK))
    assert take_dirty_pages(vm, SLOT, SIZE) == {2}


@pytest.mark.parametrize(
    ("slot", "guest_address", "size", "shift", "flags", "errno"),
    [
        pytest.param(SLOT, 0, SIZE, 0, 0, EEXIST, id="over RAM"),
        pytest.param(SLOT, BASE + 1, SIZE, 0, 0, EINVAL, id="guest address between pages"),
        pytest.param(SLOT, BASE, SIZE - 1, 0, 0, EINVAL, id="part of a page"),
        pytest.param(SLOT, BASE, SIZE, 1, 0, EINVAL, id="host address between pages"),
        pytest.param(SLOT, BASE, SIZE, 0, 1 << 31, EINVAL, id="no such flag"),
        pytest.param(SLOT, BASE, 0, 0, 0, EINVAL, id="deletion of none"),
        pytest.param(RAM_SLOT, 0, SIZE, 0, 0, EINVAL, id="another size"),
        pytest.param(0xFFFF, BASE, SIZE, 0, 0, EINVAL, id="no such slot"),
    ],
)
def test_slot_that_cannot_be_is_an_errno_and_changes_nothing(  # noqa: PLR0913, PLR0917
    vm: Vm, memory: Memory, slot: int, guest_address: int, size: int, shift: int, flags: int, errno: int
) -> None:
    def refused() -> None:
        set_memory_region(vm.fd, slot, guest_address, size, memory.address + shift, flags=flags)

    assert errno_of(refused) == errno
    assert is_refusal(vm.run(guest.load(BASE)), BASE, is_write=False)


@pytest.mark.parametrize("slot", [-1, 1 << 32])
def test_slot_that_is_no_number_of_32_bits_is_an_overflow(vm: Vm, memory: Memory, slot: int) -> None:
    with pytest.raises(OverflowError, match="kvm_userspace_memory_region"):
        set_memory_region(vm.fd, slot, BASE, SIZE, memory.address)


def test_capabilities_are_counts_and_zero_for_what_kvm_does_not_know(vm: Vm, kvm_fd: int) -> None:
    slots = capability(kvm_fd, KVM_CAP_NR_MEMSLOTS)
    assert slots > SLOT
    assert capability(vm.fd, KVM_CAP_NR_MEMSLOTS) == slots
    assert capability(kvm_fd, 1 << 30) == 0


def test_slots_are_as_many_as_the_capability_says(vm: Vm, memory: Memory) -> None:
    slots = capability(vm.fd, KVM_CAP_NR_MEMSLOTS)
    set_memory_region(vm.fd, slots - 1, BASE, SIZE, memory.address)
    assert errno_of(lambda: set_memory_region(vm.fd, slots, BASE + SIZE, SIZE, memory.address)) == EINVAL


def test_version_is_checked(kvm_fd: int) -> None:
    check_api_version(kvm_fd)


def test_other_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "ioctl", lambda _fd, _request: 11)  # which KVM had in 2007
    with pytest.raises(OSError, match="version 11, not 12") as caught:
        check_api_version(0)
    assert caught.value.errno == ENOTSUP


def test_what_is_not_kvm_is_refused(memory: Memory) -> None:
    with open(os.devnull, "rb") as file:  # noqa: PTH123
        assert errno_of(lambda: check_api_version(file)) == ENOTTY
        assert errno_of(lambda: capability(file, KVM_CAP_NR_MEMSLOTS)) == ENOTTY
        assert errno_of(lambda: set_memory_region(file, SLOT, BASE, SIZE, memory.address)) == ENOTTY
