"""The examples do what they say."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from daxmap import guest
from support.guests import open_vm
from support.paths import PROJECT
from support.programs import TIMEOUT

EXAMPLES = PROJECT / "examples"
TELLS = {
    "kvm_vmm": [r"^load: .*\n  .*\bhole\b", r"^store: .*\n  .*\bread-only\b"],
    "unicorn_vmm": [
        r"^store to the read-only mapping: an MMIO exit, for a store to 0x200000$",
        r"begins with b'DAX!'$",
    ],
}
"""What each example prints of accesses that are refused."""


@pytest.fixture(params=TELLS)
def name(request: pytest.FixtureRequest) -> str:
    """Each example whose guest can be had here."""
    name: str = request.param
    check_available(name)
    return name


def check_available(name: str) -> None:
    if name == "unicorn_vmm":
        pytest.importorskip("unicorn", reason="unicorn is not installed", exc_type=ImportError)
        return
    open_vm().close()


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_example_succeeds_and_leaves_nothing_behind(name: str, tmp_path: Path) -> None:
    done = run([EXAMPLES / f"{name}.py"], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "copy: halted; on the host the files are equal" in done.stdout
    told = [line for line in TELLS[name] if re.search(line, done.stdout, re.MULTILINE)]
    assert told == TELLS[name], done.stdout
    assert list(tmp_path.iterdir()) == []


def test_example_whose_guest_copies_too_little_fails(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = guest.copy
    monkeypatch.setattr(guest, "copy", lambda source, target, length: whole(source, target, length - guest.WORD))
    assert load(name).main() == 1
    assert "NOT equal" in capsys.readouterr().out


def test_kvm_example_without_kvm_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert load("kvm_vmm").main(str(tmp_path / "no-kvm")) == 1
    assert "no-kvm" in capsys.readouterr().err


def test_unicorn_example_without_unicorn_says_how_to_get_it() -> None:
    code = "import runpy, sys; sys.modules['unicorn'] = None; runpy.run_path(sys.argv[1], run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", code, EXAMPLES / "unicorn_vmm.py"],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "pip install 'daxmap[demo]'" in done.stderr


SNAPSHOT = [EXAMPLES / "snapshot.py"]
WITHOUT_KVM = """
import runpy, sys
from daxmap import kvm
kvm.Vm.__init__.__kwdefaults__["device"] = "/nowhere"
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
ON_UNICORN = ["-c", WITHOUT_KVM, EXAMPLES / "snapshot.py"]


@pytest.mark.parametrize("program", [SNAPSHOT, ON_UNICORN], ids=["best", "unicorn"])
def test_restored_guest_reads_what_the_saved_one_did(program: list[str | Path], tmp_path: Path) -> None:
    if program is ON_UNICORN:
        check_available("unicorn_vmm")
    done = run(program, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    saved, restored = re.findall(r"^process (\d+): the guest reads? (\{.*?\}).*2 mappings", done.stdout, re.MULTILINE)
    assert saved[0] != restored[0]
    assert saved[1] == restored[1]


def test_device_reads_a_disk_into_the_window(tmp_path: Path) -> None:
    check_available("kvm_vmm")
    done = run([EXAMPLES / "block_device.py"], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "a buffer in a hole: [Errno 14]" in done.stdout
    assert "the guest loads the first word of its buffer: halted, reported 0x" in done.stdout


def run(program: list[str | Path], directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *program],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
        env=os.environ | {"TMPDIR": str(directory)},
    )


def test_kvm_example_is_short_enough_to_read() -> None:
    assert len((EXAMPLES / "kvm_vmm.py").read_text().splitlines()) < 80
