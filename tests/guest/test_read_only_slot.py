"""The memory slot of a read-only mapper: the guest can't store there, whatever is mapped in the window."""

import ctypes
import mmap
from errno import EINVAL
from pathlib import Path

import pytest

from daxmap import DaxMapper, KvmBackend, WindowLayout, guest
from daxmap.exits import Halted, Mmio
from daxmap.kvm import KVM_MEM_READONLY, Vm
from support import faults
from support.children import Body, Scenarios, name_of, run_in_child
from support.faults import Call, Fault
from support.guests import BASE, FILE_SIZE, MARK, SIZE, is_refusal, make_file, map_file, word
from support.host import PAGE
from support.rig import Rig
from support.rigs import KvmRig, address_of

SLOT = 1
of_kvm = Scenarios()


def map_writable(mapper: DaxMapper, path: Path) -> None:
    """What no mapper does: map a file for stores where only loads were to be allowed."""
    call = ctypes.CDLL(None).mmap
    call.restype = ctypes.c_size_t
    call.argtypes = (ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
    map_fixed = 0x10
    access, start = mmap.PROT_READ | mmap.PROT_WRITE, address_of(mapper)
    with path.open("r+b") as file:
        assert call(start, FILE_SIZE, access, mmap.MAP_SHARED | map_fixed, file.fileno(), 0) == start


def test_store_is_an_mmio_exit_even_where_the_host_maps_for_stores(vm: Vm, tmp_path: Path) -> None:
    path = tmp_path / "file"
    content = make_file(path)
    with DaxMapper(BASE, SIZE, KvmBackend(vm.fd, SLOT), readonly=True) as mapper:
        map_writable(mapper, path)
        assert vm.run(guest.store(BASE + PAGE, MARK)) == Mmio(BASE + PAGE, is_write=True)
        assert vm.run(guest.load(BASE + PAGE)) == Halted((word(content, PAGE),))
    assert path.read_bytes() == content


def test_store_to_a_mapping_or_a_hole_changes_nothing(vm: Vm, tmp_path: Path) -> None:
    path = tmp_path / "file"
    content = make_file(path)
    with DaxMapper(BASE, SIZE, KvmBackend(vm.fd, SLOT), readonly=True) as mapper:
        map_file(mapper, path)
        for address in (BASE, BASE + FILE_SIZE - 4, BASE + FILE_SIZE, BASE + SIZE - 4):
            assert is_refusal(vm.run(guest.store(address, MARK)), address, is_write=True)
        assert is_refusal(vm.run(guest.load(BASE + FILE_SIZE)), BASE + FILE_SIZE, is_write=False)
        assert vm.run(guest.load(BASE)) == Halted((word(content),))
    assert path.read_bytes() == content


# What KVM is asked for, in a process of its own: tests/support/faults.c stands between daxmap and the kernel.


@of_kvm
def slot_is_read_only_where_the_mapper_is(rig: Rig) -> None:
    assert isinstance(rig, KvmRig)
    layout = WindowLayout(0, BASE, [("read", SIZE, True), ("write", SIZE)])
    for share, flags in ((layout["read"], KVM_MEM_READONLY), (layout["write"], 0)):
        with DaxMapper.for_share(share, KvmBackend(rig.vm.fd, SLOT)) as mapper:
            region = faults.last_region()
            assert (region.slot, region.flags) == (SLOT, flags)
            assert (region.guest_phys_addr, region.memory_size) == (share.base, share.size)
            assert region.userspace_addr == mapper.host_address


@of_kvm
def kvm_without_read_only_slots_is_not_asked_for_one(rig: Rig) -> None:
    assert isinstance(rig, KvmRig)
    backend = KvmBackend(rig.vm.fd, SLOT)
    faults.plan(Call.CAPABILITY, Fault(EINVAL))
    with DaxMapper(BASE, SIZE, backend, readonly=True) as mapper:
        assert faults.last_region().flags == 0
        file = rig.file()
        mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False)
        before = file.read(0, PAGE)
        assert is_refusal(rig.vm.run(guest.store(BASE, MARK)), BASE, is_write=True)
        assert file.read(0, PAGE) == before


@pytest.mark.usefixtures("needs_kvm")
@pytest.mark.parametrize("body", of_kvm, ids=name_of)
def test_slot(fault_library: Path, tmp_path: Path, body: Body) -> None:
    run_in_child(body, "kvm", tmp_path, preload=fault_library)
