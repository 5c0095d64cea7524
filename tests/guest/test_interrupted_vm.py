"""Signal handlers that raise while the demo's VM is made, used or closed: no descriptor of KVM is left."""

import sys
from collections.abc import Callable
from itertools import count
from types import FrameType
from typing import TYPE_CHECKING

import pytest

from daxmap.demo import guest, kvm
from daxmap.demo.kvm import Vm
from support.guests import BASE, RAM_SIZE, open_files

if TYPE_CHECKING:
    from _typeshed import TraceFunction


class AlarmError(Exception):
    """What the handler raises."""


def raising_at(step: int) -> "TraceFunction":
    """A trace function that raises at the step-th bytecode of the VMM's code, as a signal handler may at any.

    Constructors are left out: once they are at their end, what they made is the caller's to close.
    """
    steps = count(1)

    def trace(frame: FrameType, event: str, _argument: object) -> "TraceFunction | None":
        if frame.f_code.co_filename != kvm.__file__ or frame.f_code.co_name == "__init__":
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and next(steps) == step:
            raise AlarmError
        return trace

    return trace


def is_interrupted(call: Callable[[], object], step: int) -> bool:
    """Make the call, interrupt it at a bytecode, and say whether it has so many."""
    before = sys.gettrace()
    sys.settrace(raising_at(step))
    try:
        call()
    except AlarmError:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.usefixtures("needs_kvm")
def test_making_a_machine() -> None:
    before = open_files("kvm")
    made: list[Vm] = []
    for step in count(1):
        interrupted = is_interrupted(lambda: made.append(Vm(RAM_SIZE)), step)
        for vm in made:
            vm.close()
        assert open_files("kvm") == before, step
        if not interrupted:
            break
    assert step > 100


@pytest.mark.usefixtures("needs_kvm")
def test_running_a_program() -> None:
    def run(vm: Vm, step: int) -> bool:
        return is_interrupted(lambda: vm.run(guest.load(BASE)), step)  # refused: the vCPU is given up

    before = open_files("kvm")
    for step in count(1):
        with Vm(RAM_SIZE) as vm:
            interrupted = run(vm, step)
        assert open_files("kvm") == before, step
        if not interrupted:
            break
    assert step > 100
