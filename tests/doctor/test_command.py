"""The command `daxmap doctor`: what it prints, and its exit code."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from daxmap.cli import main
from daxmap.doctor.examine import examine
from daxmap.doctor.fact import Fact, fail, ok, told, warn
from daxmap.doctor.host import platform_fact
from daxmap.doctor.report import as_text
from support.programs import TIMEOUT

COMMAND = [sys.executable, "-m", "daxmap", "doctor"]
ESCAPE = "\x1b["
GOOD, BAD = ok("good", "works"), fail("bad", "broken", "mend it")
LONG = "of a fact that takes more than one line of any terminal to be told, since it goes on and on and on and on"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "NO_COLOR"}}
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
        env=kept | environment,
    )


def test_it_prints_one_json_object_and_leaves_nothing_behind(tmp_path: Path) -> None:
    done = run("--json", TMPDIR=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert report["ok"] is True
    states = {fact["name"]: fact["state"] for fact in report["facts"]}
    assert len(states) == len(report["facts"]), "a name is there twice"
    assert states["mapping"] == "ok"
    assert {"platform", "DaxMapper.read", "/proc", "kvm", "page size", "vm.max_map_count"} <= states.keys()
    assert {"vm.overcommit_memory", "RLIMIT_NOFILE", "RLIMIT_MEMLOCK", "RLIMIT_DATA", "RLIMIT_AS"} <= states.keys()
    assert {"unicorn", "qemu"} <= states.keys()
    for fact in report["facts"]:
        assert fact.keys() == {"name", "state", "detail", "remedy"}
        assert (fact["remedy"] is None) == (fact["state"] == "ok")
    assert list(tmp_path.iterdir()) == []


def test_kernel_without_dax_fails(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("CONFIG_FUSE_FS=y\n")
    done = run("--kernel-config", str(config))
    assert done.returncode == 1
    assert "fail  CONFIG_FUSE_DAX" in done.stdout
    assert "ok    CONFIG_FUSE_FS" in done.stdout
    said = " ".join(done.stdout.split())
    assert "daxmap can do its work here; the guest's kernel can't do DAX: see what failed. " in said
    report = json.loads(run("--kernel-config", str(config), "--json").stdout)
    assert report["ok"] is False


@pytest.mark.parametrize(
    ("host", "kernel", "verdict"),
    [
        ([GOOD], [], "daxmap can do its work here. 1 ok,"),
        ([BAD], [], "daxmap can't do its work here: see what failed. 0 ok,"),
        ([GOOD], [GOOD], "daxmap can do its work here; the guest's kernel can do DAX. 2 ok,"),
        ([GOOD], [BAD], "daxmap can do its work here; the guest's kernel can't do DAX: see what failed. 1 ok,"),
        ([BAD], [GOOD], "daxmap can't do its work here; the guest's kernel can do DAX: see what failed. 1 ok,"),
        ([BAD], [BAD], "daxmap can't do its work here; the guest's kernel can't do DAX: see what failed. 0 ok,"),
    ],
)
def test_verdict_tells_host_and_kernel_apart(host: list[Fact], kernel: list[Fact], verdict: str) -> None:
    assert verdict in " ".join(as_text(host, kernel, width=100, colour=False).split())


def test_mapping_that_cannot_be_made_fails() -> None:
    limited = ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *COMMAND]
    done = subprocess.run(limited, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    assert (done.returncode, done.stderr) == (1, "")
    assert "fail  mapping" in done.stdout
    assert "DaxMapper.read" not in done.stdout


def test_file_that_is_no_kernel_config_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text").write_text("hello\n")
    for name, said in (("nowhere", "No such file or directory"), ("text", "is no kernel config")):
        assert main(["doctor", "--kernel-config", str(tmp_path / name)]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("daxmap doctor: --kernel-config: ")
        assert said in err
        assert str(tmp_path / name) in err
        assert err.count("\n") == 1


@pytest.mark.parametrize(("columns", "most"), [("50", 50), ("100", 100), ("300", 100)])
def test_lines_fit_the_terminal(columns: str, most: int) -> None:
    done = run(COLUMNS=columns)
    assert done.returncode == 0
    longest = max(map(len, done.stdout.splitlines()))
    assert most - 20 < longest <= most
    assert ESCAPE not in done.stdout


@pytest.mark.parametrize(("no_color", "coloured"), [({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False)])
def test_states_have_a_colour_on_a_terminal(no_color: dict[str, str], *, coloured: bool) -> None:
    master, slave = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    with subprocess.Popen(COMMAND, stdout=slave, stderr=slave, env=kept | no_color) as process:
        os.close(slave)
        printed = b""
        try:
            while chunk := os.read(master, 1 << 16):
                printed += chunk
        except OSError:  # EIO: the other side is closed
            pass
        finally:
            os.close(master)
        assert process.wait(TIMEOUT) == 0
    assert (b"\x1b[32mok\x1b[0m    mapping" in printed) is coloured
    assert (ESCAPE.encode() in printed) is coloured


@pytest.mark.parametrize("width", [20, 40, 60, 100])
def test_text_has_all_of_every_fact(width: int) -> None:
    facts = [ok("good", f"detail {LONG}"), warn("odd", f"odd {LONG}", f"do {LONG}"), fail("bad", "broken", "mend")]
    text = as_text(facts, width=width, colour=False)
    words = text.split()
    assert [word for word in words if word in {"ok", "warn", "fail"}][:3] == ["ok", "warn", "fail"]
    assert " ".join(words).count(LONG) == 3
    assert words.count("->") == 2
    assert "1 ok, 1 warn, 1 fail" in " ".join(words)
    assert max(map(len, text.splitlines())) <= max(width, 40)
    assert as_text(facts, width=width, colour=True).replace("\x1b[0m", "").count(ESCAPE) == 3


def test_a_mac_is_asked_for_what_it_has() -> None:
    names = {fact.name for fact in examine("Darwin")}
    assert {"mapping", "Hypervisor.framework", "RLIMIT_NOFILE"} <= names
    assert not names & {"kvm", "/proc", "vm.max_map_count", "qemu"}
    assert "Hypervisor.framework" not in {fact.name for fact in examine("Linux")}


def test_only_what_the_tests_run_on_is_ok() -> None:
    assert platform_fact("Linux", "x86_64").state == "ok"
    for system, machine in (("Linux", "aarch64"), ("Darwin", "arm64")):
        assert platform_fact(system, machine).state == "warn"


def test_errors_are_told_by_name() -> None:
    assert told(PermissionError(13, "Permission denied", "/dev/kvm")) == "/dev/kvm: Permission denied (EACCES)"
    assert told(OSError(13, "Permission denied")) == "Permission denied (EACCES)"
    assert told(OSError(12345, "odd")) == "odd (12345)"
    assert told(OSError("no errno")) == "no errno"


def test_help_says_what_the_exit_codes_mean(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["doctor", "--help"])
    assert stop.value.code == 0
    assert "Warnings don't count" in " ".join(capsys.readouterr().out.split())
