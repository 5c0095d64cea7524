"""The `daxmap` command and the story that its demo tells."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from daxmap import DaxMapper, HostWindowBackend
from daxmap.cli import main
from daxmap.demo import run, story
from daxmap.demo.kvm import Vm
from daxmap.demo.machine import AccessRefusedError, Guest, HostGuest

BASE = 2 << 20
SIZE = 4 << 20
STEPS = ["place", "map", "copy", "refuse", "upgrade", "remove", "balance"]


@pytest.fixture
def needs_kvm() -> None:
    try:
        Vm(BASE).close()
    except OSError as error:
        pytest.skip(f"KVM cannot be used: {error}")


@pytest.fixture
def mapper() -> Iterator[DaxMapper]:
    backend = HostWindowBackend()
    with DaxMapper(BASE, SIZE, backend) as mapper:
        yield mapper
    backend.release()


def assert_success(report: dict[str, Any], guest: str) -> None:
    assert report["ok"] is True
    assert report["guest"] == guest
    assert [step["name"] for step in report["steps"]] == STEPS
    assert all(step["ok"] for step in report["steps"])
    assert report["elapsed_seconds"] > 0
    counters = report["counters"]
    assert (counters["setup_count"], counters["remove_count"], counters["upgrade_count"]) == (2, 2, 1)
    assert counters["live_mappings"] == 0


@pytest.mark.usefixtures("needs_kvm")
def test_demo_on_kvm_prints_one_json_object_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "daxmap", "demo", "--json"],
        capture_output=True,
        check=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert done.stderr == b""
    assert_success(json.loads(done.stdout), "kvm")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("needs_kvm")
def test_demo_on_kvm_tells_every_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo"]) == 0
    told = capsys.readouterr().out
    assert "KVM virtual machine" in told
    for number, step in enumerate(story.STEPS, start=1):
        assert f"{number}. {step.title}\n" in told
    assert "WRONG" not in told


def test_demo_without_kvm_says_so_and_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    device = str(tmp_path / "no-kvm")
    assert run.demo(device=device) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "Guest: none, the host stands in for it, since KVM cannot be used" in told
    assert "No such file or directory" in told
    assert device in told

    assert run.demo(as_json=True, device=device) == 0
    report = json.loads(capsys.readouterr().out)
    assert_success(report, "none")
    assert device in report["about"]


class WrongByte(HostGuest):
    """Copies all but the last word, and stores another one there."""

    def copy(self, source: int, target: int, length: int) -> None:
        super().copy(source, target, length - 4)
        self.store(target + length - 4, 0)


class LetThrough(HostGuest):
    """A store that does not arrive and is not refused either."""

    def store(self, address: int, value: int) -> None:
        try:
            super().store(address, value)
        except AccessRefusedError:
            return


class ReadableHole(HostGuest):
    """A load from a hole gives zero, as an MMIO exit that is silently completed would."""

    def load(self, address: int) -> int:
        try:
            return super().load(address)
        except AccessRefusedError:
            return 0


class LostStore(HostGuest):
    """A store that arrives nowhere, where it is allowed."""

    def store(self, address: int, value: int) -> None:
        super().store(address, value ^ value)


LIARS = [(WrongByte, "copy"), (LetThrough, "refuse"), (LostStore, "upgrade"), (ReadableHole, "remove")]


@pytest.mark.parametrize(("liar", "step"), LIARS)
def test_demo_fails_at_the_step_where_the_guest_is_wrong(
    liar: type[HostGuest],
    step: str,
    mapper: DaxMapper,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    @contextmanager
    def open_liar(*_: object, **__: object) -> Iterator[Guest]:
        yield liar(mapper, "a liar")

    monkeypatch.setattr(run, "open_guest", open_liar)
    assert run.demo(as_json=True) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is False
    assert report["steps"][-1]["name"] == step
    assert [outcome["ok"] for outcome in report["steps"]] == [True] * STEPS.index(step) + [False]


def test_demo_says_what_went_wrong(
    mapper: DaxMapper, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def open_liar(*_: object, **__: object) -> Iterator[Guest]:
        yield WrongByte(mapper, "a liar")

    monkeypatch.setattr(run, "open_guest", open_liar)
    assert run.demo() == 1
    told = capsys.readouterr().out
    assert "-> WRONG: StepFailedError: target.bin differs" in told
    assert "Something was WRONG" in told


def test_window_in_ram_is_wrong(mapper: DaxMapper, tmp_path: Path) -> None:
    scene = story.Scene(HostGuest(mapper, "nobody"), BASE + 1, tmp_path)
    assert [(outcome.step.name, outcome.ok) for outcome in story.tell(scene)] == [("place", False)]


def test_reader_that_leaves_is_no_traceback() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "daxmap", "demo"], stdout=write_end, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(write_end)
    assert (done.returncode, done.stderr) == (1, b"")


def test_version_names_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith("daxmap ")


def test_no_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2
    assert "COMMAND" in capsys.readouterr().err
