"""The example VMM for macOS, over the stand-in: its calls of the framework, and its guest."""

import importlib.util
import subprocess
import sys
from types import ModuleType

import pytest

from hvf.standin import Code, Operation, Standin
from support.host import PAGE
from support.paths import PROJECT
from support.programs import TIMEOUT

CREATE, DESTROY, MAP, UNMAP = Operation.CREATE, Operation.DESTROY, Operation.MAP, Operation.UNMAP
EXAMPLE = PROJECT / "examples" / "macos_vmm.py"


@pytest.fixture
def example(standin: Standin) -> ModuleType:
    standin.reset(PAGE)  # the example creates the VM itself
    spec = importlib.util.spec_from_file_location("macos_vmm", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_guest_copies_and_all_is_undone_in_order(
    example: ModuleType, standin: Standin, capsys: pytest.CaptureFixture[str]
) -> None:
    assert example.main(str(standin.path)) == 0
    output = capsys.readouterr().out
    assert "copy: the guest called its hypervisor; on the host the files are equal" in output
    assert "removed: the guest stopped at an access to 0x40400000" in output
    assert standin.operations() == [CREATE, MAP, MAP, MAP, UNMAP, UNMAP, UNMAP, DESTROY]
    assert all(call.code == Code.SUCCESS for call in standin.calls())


def test_guest_that_does_not_copy_fails(
    example: ModuleType, standin: Standin, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(example, "COPY_WORD", example.COPY_WORD[:4] + example.COPY_WORD[8:])
    assert example.main(str(standin.path)) == 1
    assert "NOT equal" in capsys.readouterr().out
    assert standin.operations()[-1] == DESTROY


@pytest.mark.parametrize("nth", range(1, 5))
def test_refused_call_is_told_and_all_is_undone(
    example: ModuleType, standin: Standin, nth: int, capsys: pytest.CaptureFixture[str]
) -> None:
    standin.fail(nth, Code.DENIED)
    assert example.main(str(standin.path)) == 1
    assert "entitlement" in capsys.readouterr().err
    assert (standin.operations()[-1], standin.calls_without_vm) == (DESTROY, 0)


def test_host_without_the_framework_gets_exit_code_2() -> None:
    done = subprocess.run([sys.executable, EXAMPLE], capture_output=True, text=True, check=False, timeout=TIMEOUT)
    assert (done.returncode, done.stdout) == (2, "")
    assert "needs macOS on Apple silicon" in done.stderr


def test_example_is_short_and_says_that_no_mac_has_run_it() -> None:
    text = EXAMPLE.read_text()
    assert len(text.splitlines()) < 150
    assert "NOT YET RUN ON A MAC" in text
