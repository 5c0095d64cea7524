"""Signal handlers that raise while a `Vm` is made, used or closed: no descriptor of KVM is left."""

import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from errno import EINTR
from functools import partial
from itertools import count
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import pytest

from daxmap import guest, kvm
from daxmap.exits import Halted
from daxmap.kvm import Vm
from support.children import run_in_child
from support.faults import Call, Fault, plan
from support.faults import count as count_of
from support.guests import BASE, MARK, RAM_SIZE, is_refusal, open_files
from support.rig import Rig

if TYPE_CHECKING:
    from _typeshed import TraceFunction

pytestmark = pytest.mark.usefixtures("needs_kvm", "dropped_unclosed")

PACKAGE = str(Path(kvm.__file__).parent)


class AlarmError(Exception):
    """What the handler raises."""


@pytest.fixture
def dropped_unclosed() -> Iterator[None]:
    """Lets pass the warning for what a handler kept from being closed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield


def use() -> None:
    """Make a machine, give up its vCPU for a refused access, use another one, and close all."""
    with Vm(RAM_SIZE) as vm:
        vm.run(guest.load(BASE))
        vm.run(guest.load(0))


def raising_at(step: int) -> "TraceFunction":
    """A trace function that raises at the step-th bytecode of the package and of `use`, as a handler may at any."""
    steps = count(1)

    def trace(frame: FrameType, event: str, _argument: object) -> "TraceFunction | None":
        if not frame.f_code.co_filename.startswith(PACKAGE) and frame.f_code is not use.__code__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and next(steps) == step:
            raise AlarmError
        return trace

    return trace


def is_interrupted(call: Callable[[], object], step: int) -> bool:
    """Make the call, interrupt it at a bytecode, and say whether it has so many."""
    before = sys.gettrace()
    # CPython 3.12 looks at it in `settrace` alone.
    sys._getframe().f_trace_opcodes = True  # noqa: SLF001  (the documented way)
    sys.settrace(raising_at(step))
    try:
        call()
    except AlarmError:
        return True
    finally:
        sys.settrace(before)
    return False


def test_handler_that_raises_at_any_bytecode_leaves_no_descriptor() -> None:
    before = open_files("kvm")
    for step in count(1):
        interrupted = is_interrupted(use, step)
        assert open_files("kvm") == before, step
        if not interrupted:
            break
    assert step > 300


def signals_come_within_calls_of_kvm(_rig: Rig) -> None:
    """At each call in turn: its handler runs once C code is done, which may have made a descriptor by then."""

    def stop(_signal: int, _frame: object) -> None:
        raise AlarmError

    signal.signal(signal.SIGALRM, stop)
    warnings.simplefilter("ignore", ResourceWarning)
    use()
    calls = count_of(Call.KVM)
    before = open_files("kvm")
    assert calls > 10
    for error in (0, EINTR):
        for step in range(calls):
            plan(Call.KVM, Fault(error, skip=step))
            with pytest.raises(AlarmError):
                use()
            assert open_files("kvm") == before, (error, step)


def test_handler_that_raises_within_any_call_leaves_no_descriptor(tmp_path: Path, fault_library: Path) -> None:
    run_in_child(signals_come_within_calls_of_kvm, "host-window", tmp_path, preload=fault_library)


def test_machine_that_was_interrupted_runs_the_next_program_and_closes() -> None:
    """A vCPU that was refused an access is never entered again, wherever the handler raised."""
    before = open_files("kvm")
    for step in count(1):
        vm = Vm(RAM_SIZE)
        vm.run(guest.store(0x8000, MARK))
        interrupted = is_interrupted(partial(vm.run, guest.load(BASE)), step)
        assert vm.run(guest.load(0x8000)) == Halted((MARK,)), step
        assert is_refusal(vm.run(guest.load(BASE)), BASE, is_write=False)
        if is_interrupted(vm.close, step):
            vm.close()
        assert open_files("kvm") == before, step
        if not interrupted:
            break
    assert step > 100
