"""Programs and packages that daxmap can use."""

import os
import sys
from pathlib import Path

import pytest

from daxmap.doctor.programs import qemu, unicorn
from support.children import run_in_child
from support.rig import Rig
from support.sandbox import DAC, drop_capabilities

MACHINE = "x86_64"


def program(directory: Path, version: str, *, name: str = MACHINE) -> Path:
    """An emulator that knows its version."""
    return script(directory, f"#!/bin/sh\necho 'QEMU emulator version {version} (Debian)'\n", name=name)


def script(directory: Path, content: str, *, name: str = MACHINE) -> Path:
    directory.mkdir(exist_ok=True)
    path = directory / f"qemu-system-{name}"
    path.write_text(content)
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("version", ["11.1.0", "11.1.50", "11.2.0", "12.0.0"])
def test_new_qemu_is_good(tmp_path: Path, version: str) -> None:
    path = program(tmp_path, version)
    fact = qemu(MACHINE, str(tmp_path))
    assert fact.state == "ok"
    assert f"{path} is version {version}" in fact.detail


@pytest.mark.parametrize("version", ["7.2.13", "9.10.0", "11.0.92"])
def test_old_qemu_is_a_warning(tmp_path: Path, version: str) -> None:
    program(tmp_path, version)
    fact = qemu(MACHINE, str(tmp_path))
    assert fact.state == "warn"
    assert version in fact.detail
    assert "11.1" in (fact.remedy or "")


def test_emulator_of_this_machine_is_preferred_and_the_first_in_path(tmp_path: Path) -> None:
    program(tmp_path / "a", "11.1.0", name="aarch64")
    expected = program(tmp_path / "b", "11.1.1")
    program(tmp_path / "c", "11.1.2")
    path = os.pathsep.join(str(tmp_path / name) for name in ("nowhere", "a", "b", "c"))
    assert str(expected) in qemu(MACHINE, path).detail
    assert "qemu-system-aarch64" in qemu("riscv64", path).detail


def path_has_directories_without_right(rig: Rig) -> None:
    directory = rig.file().path.parent
    path = [directory / name for name in ("unlisted", "closed", "good")]
    for place in path:
        program(place, "11.1.0")
    path[0].chmod(0o100)
    path[1].chmod(0o000)
    drop_capabilities(*DAC)
    fact = qemu(MACHINE, os.pathsep.join(map(str, path)))
    for place in path:
        place.chmod(0o700)
    assert str(path[2]) in fact.detail


def test_directories_of_path_without_right_are_passed_over(tmp_path: Path) -> None:
    run_in_child(path_has_directories_without_right, "host-window", tmp_path)


def test_what_cannot_be_started_is_not_qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "here", "11.1.0")
    monkeypatch.chdir(tmp_path / "here")  # an empty entry of PATH means it, which is no place to start programs from
    program(tmp_path, "11.1.0").chmod(0o644)
    (tmp_path / "qemu-system-arm").mkdir()
    assert qemu(MACHINE, f"{os.pathsep}{tmp_path}").detail == "there is no qemu-system-* in PATH"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("no program\n", "ENOEXEC"),
        ("#!/nowhere/sh\n", "ENOENT"),
        ("#!/bin/sh\necho hello\n", "does not tell its version"),
        ("#!/bin/sh\necho version 11.1.0\nexit 3\n", "exit code 3"),
    ],
)
def test_broken_qemu_is_a_warning(tmp_path: Path, content: str, said: str) -> None:
    script(tmp_path, content)
    fact = qemu(MACHINE, str(tmp_path))
    assert fact.state == "warn"
    assert said in fact.detail


def test_qemu_that_hangs_is_a_warning(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "never")
    script(tmp_path, f"#!/bin/sh\nexec 3< '{tmp_path}/never'\n")
    fact = qemu(MACHINE, str(tmp_path), timeout=0.1)
    assert fact.state == "warn"
    assert "no answer" in fact.detail


def test_unicorn_tells_its_version() -> None:
    installed = pytest.importorskip("unicorn", reason="unicorn is not installed", exc_type=ImportError)
    assert (unicorn().state, unicorn().detail) == ("ok", installed.__version__)


def test_no_unicorn_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "unicorn", None)
    fact = unicorn()
    assert fact.state == "warn"
    assert fact.remedy == "pip install 'daxmap[demo]'"


@pytest.mark.parametrize(
    ("source", "said"),
    [("__version__ = '2.0.1'", "2.0.1, not 2.1"), ("raise OSError(2, 'no libunicorn.so')", "no libunicorn.so")],
)
def test_unicorn_of_no_use_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, said: str
) -> None:
    (tmp_path / "unicorn.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "unicorn"]:
        monkeypatch.delitem(sys.modules, name)
    fact = unicorn()
    assert fact.state == "warn"
    assert said in fact.detail
    monkeypatch.delitem(sys.modules, "unicorn", raising=False)
