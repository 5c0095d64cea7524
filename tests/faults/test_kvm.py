"""Each call of KVM's in the life of a window fails once, and a KVM that does not tell its limits.

Each scenario runs in a process of its own, in which tests/support/faults.c stands between daxmap and the kernel.
"""

import logging
from errno import EINVAL, ENOMEM
from pathlib import Path

import pytest

from daxmap import DaxMapper, KvmBackend
from support import faults
from support.children import Body, Scenarios, name_of, run_in_child
from support.faults import Call, Fault
from support.guests import open_files
from support.host import PAGE
from support.records import recording
from support.rig import Rig
from support.rigs import KvmRig

BASE, SIZE = 1 << 28, 4 << 20
of_kvm = Scenarios()


def life_of_a_window(rig: KvmRig) -> list[int | None]:
    """Make a window, switch its log, and close it. Returns the errnos that came up."""
    errnos: list[int | None] = []
    mapper = None
    try:
        backend = KvmBackend(rig.vm.fd, 1)
        backend.start_dirty_log()
        mapper = DaxMapper(BASE, SIZE, backend, readonly=True)
        mapper.setup_mapping(rig.files[0].fd, 0, 0, PAGE, writable=False)
        for switch in (backend.stop_dirty_log, backend.start_dirty_log):
            assert rig.load(mapper, 0) is not None
            assert not rig.store(mapper, 0, 1)
            switch()
    except OSError as error:
        errnos.append(error.errno)
    if mapper:
        mapper.close()
        assert rig.load(mapper, 0) is None
    return errnos


EXPECTED: dict[Call, list[list[int | None]]] = {
    Call.CAPABILITY: [[], [], []],  # it does without
    Call.SET_SLOT: [[ENOMEM], [ENOMEM], [ENOMEM]],  # put in, off, on
    Call.DELETE_SLOT: [[]],  # which is logged
}


@of_kvm
def any_one_call_of_kvm_fails(rig: Rig) -> None:
    """The window works or is refused; in the end the guest has lost it, and nothing keeps the VM."""
    assert isinstance(rig, KvmRig)
    content = rig.file(1).read(0, PAGE)
    vms = open_files("kvm-vm")
    before = {call: faults.count(call) for call in EXPECTED}
    assert life_of_a_window(rig) == []
    assert {call: faults.count(call) - before[call] for call in EXPECTED} == {
        call: len(outcomes) for call, outcomes in EXPECTED.items()
    }
    for call, outcomes in EXPECTED.items():
        for skip, errnos in enumerate(outcomes):
            faults.plan(call, Fault(ENOMEM, skip=skip))
            with recording(logging.WARNING) as recorder:
                assert life_of_a_window(rig) == errnos, (call, skip)
            told = "".join(recorder.take(logging.WARNING))
            assert ("stays reserved" in told) == (call == Call.DELETE_SLOT)
            assert open_files("kvm-vm") == vms
    assert rig.files[0].read(0, PAGE) == content


@of_kvm
def slot_past_limits_that_kvm_does_not_tell_is_refused_with_the_mapper(rig: Rig) -> None:
    assert isinstance(rig, KvmRig)
    for slot in (0xFFFF, 0xFFFF_0001):
        faults.plan(Call.CAPABILITY, Fault(EINVAL))
        backend = KvmBackend(rig.vm.fd, slot)
        with pytest.raises(OSError, match=f"KVM_SET_USER_MEMORY_REGION of slot {slot} ") as caught:
            DaxMapper(BASE, SIZE, backend)
        assert caught.value.errno == EINVAL


@of_kvm
def window_past_the_cpu_s_addresses_is_refused_and_says_so(rig: Rig) -> None:
    """Which KVM says with EINVAL, where the emulated CPU has no more than this one."""
    assert isinstance(rig, KvmRig)
    if "address sizes" not in Path("/proc/cpuinfo").read_text():
        return  # of other processors it is not told
    faults.plan(Call.SET_SLOT, Fault(EINVAL))
    with pytest.raises(OSError, match=r"its end is past the \d+ physical address bits of this CPU") as caught:
        DaxMapper(1 << 60, SIZE, KvmBackend(rig.vm.fd, 1))
    assert caught.value.errno == EINVAL


@pytest.mark.usefixtures("needs_kvm")
@pytest.mark.parametrize("body", of_kvm, ids=name_of)
def test_fault(fault_library: Path, tmp_path: Path, body: Body) -> None:
    run_in_child(body, "kvm", tmp_path, preload=fault_library)
