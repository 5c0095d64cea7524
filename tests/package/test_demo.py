"""The story that `daxmap demo` tells."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from daxmap import DaxMapper
from daxmap.cli import main
from daxmap.demo import run, story
from daxmap.demo.choice import GUESTS, Choice
from daxmap.demo.machine import AccessRefusedError, CpuGuest, HostGuest
from daxmap.exits import Stopped
from support.guests import open_vm
from support.programs import TIMEOUT
from support.windows import host_window

BASE = 2 << 20
SIZE = 4 << 20
STEPS = ["place", "map", "copy", "refuse", "upgrade", "remove", "balance"]


def check_available(kind: str) -> None:
    """Skips the test where a kind of guest cannot be had."""
    if kind == "kvm":
        open_vm().close()
    elif kind == "unicorn":
        pytest.importorskip("unicorn", reason="unicorn is not installed", exc_type=ImportError)


@pytest.fixture(params=GUESTS)
def kind(request: pytest.FixtureRequest) -> str:
    """Every kind of guest that can be had here."""
    kind: str = request.param
    check_available(kind)
    return kind


@pytest.fixture
def needs_kvm() -> None:
    check_available("kvm")


@pytest.fixture
def needs_unicorn() -> None:
    check_available("unicorn")


@pytest.fixture
def no_unicorn(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it were not installed."""
    monkeypatch.delattr("daxmap.unicorn", raising=False)
    monkeypatch.delitem(sys.modules, "daxmap.unicorn", raising=False)
    monkeypatch.setitem(sys.modules, "unicorn", None)


@pytest.fixture
def mapper() -> Iterator[DaxMapper]:
    with host_window(BASE, SIZE) as mapper:
        yield mapper


def assert_success(report: dict[str, Any], guest: str) -> None:
    assert report["ok"] is True
    assert report["guest"] == guest
    assert [step["name"] for step in report["steps"]] == STEPS
    assert all(step["ok"] for step in report["steps"])
    assert report["elapsed_seconds"] > 0
    counters = report["counters"]
    assert (counters["setup_count"], counters["remove_count"], counters["upgrade_count"]) == (2, 2, 1)
    assert counters["live_mappings"] == 0


def test_demo_prints_one_json_object_and_leaves_nothing_behind(kind: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "daxmap", "demo", "--json", "--guest", kind],
        capture_output=True,
        check=True,
        timeout=TIMEOUT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert done.stderr == b""
    report = json.loads(done.stdout)
    assert_success(report, kind)
    assert report["why"] == "as asked for"
    assert list(tmp_path.iterdir()) == []


def test_demo_tells_every_step(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--guest", kind]) == 0
    told = capsys.readouterr().out
    for number, step in enumerate(story.STEPS, start=1):
        assert f"{number}. {step.title}\n" in told
    assert "WRONG" not in told


@pytest.mark.usefixtures("needs_kvm", "needs_unicorn")
def test_demo_says_the_same_things_on_unicorn_as_on_kvm(capsys: pytest.CaptureFixture[str]) -> None:
    def told(kind: str) -> str:
        assert main(["demo", "--guest", kind]) == 0
        story_told = capsys.readouterr().out.partition("\n1. ")[2]
        # How an access is refused may differ, and so may the time.
        return re.sub(r"\([^)]*\)|in \d+\.\d+ s", "", " ".join(story_told.split()))

    assert "Every byte was right" in told("kvm")
    assert told("unicorn") == told("kvm")


@pytest.mark.usefixtures("needs_kvm")
def test_demo_takes_kvm_where_it_can_be_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo"]) == 0
    told = capsys.readouterr().out
    assert "Guest: a KVM virtual machine" in told
    assert "since there is no better one" in told


@pytest.mark.usefixtures("needs_unicorn")
def test_demo_without_kvm_takes_unicorn_and_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    device = str(tmp_path / "no-kvm")
    assert run.demo(device=device) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert re.search(r"Guest: a CPU in 32-bit mode that unicorn \S+ emulates, since KVM cannot be used", told)
    assert "No such file or directory" in told
    assert device in told


@pytest.mark.usefixtures("no_unicorn")
def test_demo_without_kvm_and_unicorn_says_so_and_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    device = str(tmp_path / "no-kvm")
    assert run.demo(device=device) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "Guest: none, the host stands in for it, since KVM cannot be used" in told
    assert device in told
    assert "unicorn cannot be used" in told

    assert run.demo(as_json=True, device=device) == 0
    report = json.loads(capsys.readouterr().out)
    assert_success(report, "none")
    assert device in report["why"]


def test_kvm_that_is_asked_for_and_not_there_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    device = str(tmp_path / "no-kvm")
    assert run.demo("kvm", device=device) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "No such file or directory" in err
    assert device in err


@pytest.mark.usefixtures("no_unicorn")
def test_unicorn_that_is_asked_for_and_not_there_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--guest", "unicorn", "--json"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "pip install 'daxmap[demo]'" in err


def test_guest_of_another_kind_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["demo", "--guest", "qemu"])
    assert stop.value.code == 2
    assert "qemu" in capsys.readouterr().err


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


class DeadWindow(HostGuest):
    """Its window is gone before it does anything, which no address explains."""

    def copy(self, source: int, target: int, length: int) -> None:
        self.mapper.close()
        super().copy(source, target, length)


class LostStore(HostGuest):
    """A store that arrives nowhere, where it is allowed."""

    def store(self, address: int, value: int) -> None:
        super().store(address, value ^ value)


LIARS = [
    (WrongByte, "copy"),
    (DeadWindow, "copy"),
    (LetThrough, "refuse"),
    (LostStore, "upgrade"),
    (ReadableHole, "remove"),
]


@pytest.mark.parametrize(("liar", "step"), LIARS)
def test_demo_fails_at_the_step_where_the_guest_is_wrong(
    liar: type[HostGuest],
    step: str,
    mapper: DaxMapper,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    @contextmanager
    def open_liar(*_: object, **__: object) -> Iterator[Choice]:
        yield Choice(liar(mapper), "for once")

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
    def open_liar(*_: object, **__: object) -> Iterator[Choice]:
        yield Choice(WrongByte(mapper), "for once")

    monkeypatch.setattr(run, "open_guest", open_liar)
    assert run.demo() == 1
    told = capsys.readouterr().out
    assert "-> WRONG: StepFailedError: target.bin differs" in told
    assert "Something was WRONG" in told


def test_program_that_an_exception_ends_is_wrong(mapper: DaxMapper, tmp_path: Path) -> None:
    guest = CpuGuest("broken", "a CPU", lambda _program: Stopped("an exception"), mapper)
    *before, last = story.tell(story.Scene(guest, BASE, tmp_path))
    assert all(outcome.ok for outcome in before)
    assert (last.step.name, last.ok) == ("copy", False)
    assert last.detail == "GuestError: an exception"


def test_window_in_ram_is_wrong(mapper: DaxMapper, tmp_path: Path) -> None:
    scene = story.Scene(HostGuest(mapper), BASE + 1, tmp_path)
    assert [(outcome.step.name, outcome.ok) for outcome in story.tell(scene)] == [("place", False)]
