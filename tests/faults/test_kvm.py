"""A KVM that does not tell its limits, in a process of its own: tests/support/faults.c stands between daxmap and it."""

from errno import EINVAL
from pathlib import Path

import pytest

from daxmap import DaxMapper, KvmBackend
from support import faults
from support.children import Body, Scenarios, name_of, run_in_child
from support.faults import Call, Fault
from support.rig import Rig
from support.rigs import KvmRig

BASE, SIZE = 1 << 28, 4 << 20
of_kvm = Scenarios()


@of_kvm
def slot_past_limits_that_kvm_does_not_tell_is_refused_with_the_mapper(rig: Rig) -> None:
    assert isinstance(rig, KvmRig)
    for slot in (0xFFFF, 0xFFFF_0001):
        faults.plan(Call.CAPABILITY, Fault(EINVAL))
        backend = KvmBackend(rig.vm.fd, slot)
        with pytest.raises(OSError, match=f"KVM_SET_USER_MEMORY_REGION of slot {slot} ") as caught:
            DaxMapper(BASE, SIZE, backend)
        assert caught.value.errno == EINVAL


@pytest.mark.usefixtures("needs_kvm")
@pytest.mark.parametrize("body", of_kvm, ids=name_of)
def test_fault(fault_library: Path, tmp_path: Path, body: Body) -> None:
    run_in_child(body, "kvm", tmp_path, preload=fault_library)
