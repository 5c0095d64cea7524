"""Calls of KVM that fail, and what `daxmap.kvm` makes of that."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EFAULT, EINTR, EINVAL, ENOMEM, ENOSYS
from pathlib import Path

import pytest

from daxmap import guest
from daxmap.exits import Fault as FaultExit
from daxmap.exits import Halted, Stopped
from daxmap.kvm import DEVICE, Vm
from daxmap.kvm.calls import create_vm
from support.children import Body, Scenarios, name_of, run_in_child
from support.faults import Call, Fault, count, plan
from support.guests import MARK, RAM_SIZE, open_files
from support.limits import errno_of
from support.rig import Rig

scenario = Scenarios()


@contextmanager
def machine() -> Iterator[Vm]:
    signal.signal(signal.SIGALRM, lambda *_: None)  # which comes with each failure
    with Vm(RAM_SIZE) as vm:
        assert vm.run(guest.store(0x8000, MARK)) == Halted(())
        yield vm


def fail_kvm_run(vm: Vm, error: int) -> None:
    """It is the last call of a run."""
    before = count(Call.KVM)
    assert vm.run(guest.load(0x8000)) == Halted((MARK,))
    plan(Call.KVM, Fault(error, skip=count(Call.KVM) - before - 1))


@scenario
def access_that_memory_does_not_allow(_rig: Rig) -> None:
    with machine() as vm:
        fail_kvm_run(vm, EFAULT)
        assert vm.run(guest.load(0x8000)) == FaultExit()
        assert vm.run(guest.load(0x8000)) == Halted((MARK,))


@scenario
def access_to_no_memory_that_arm64_does_not_describe(_rig: Rig) -> None:
    with machine() as vm:
        fail_kvm_run(vm, ENOSYS)
        end = vm.run(guest.load(0x8000))
        assert isinstance(end, Stopped)
        assert str(end) == end.reason
        assert "an access to no memory" in end.reason


@scenario
def other_error_of_kvm_run_is_raised(_rig: Rig) -> None:
    with machine() as vm:
        fail_kvm_run(vm, EINVAL)
        assert errno_of(lambda: vm.run(guest.load(0x8000))) == EINVAL
        assert vm.run(guest.load(0x8000)) == Halted((MARK,))


@scenario
def machine_whose_making_is_interrupted_is_made(_rig: Rig) -> None:
    signal.signal(signal.SIGALRM, lambda *_: None)
    with Path(DEVICE).open("r+b", buffering=0) as kvm:
        plan(Call.KVM, Fault(EINTR, skip=1))  # after a question of what the machine may be like
        with create_vm(kvm):
            assert open_files("kvm-vm") == 1


@scenario
def memory_slot_that_is_not_given_back_keeps_the_machine(_rig: Rig) -> None:
    with machine() as vm:
        plan(Call.DELETE_SLOT, Fault(ENOMEM))
        assert errno_of(vm.close) == ENOMEM
        assert os.fstat(vm.fd)
        vm.close()
        assert open_files("kvm") == 0


@pytest.mark.usefixtures("needs_kvm")
@pytest.mark.parametrize("body", scenario, ids=name_of)
def test_call_of_kvm_that_fails(tmp_path: Path, fault_library: Path, body: Body) -> None:
    run_in_child(body, "host-window", tmp_path, preload=fault_library)
