"""The habits of the `daxmap` command, whichever of its commands runs: outputs, signals, errors, completion."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import daxmap
from daxmap.cli import main
from daxmap.cli.demo import GUESTS
from daxmap.demo import choice
from support.programs import TIMEOUT

DAXMAP = [sys.executable, "-m", "daxmap"]

# Command lines that print something, and succeed if that can be written.
PRINTING = [
    [],
    ["--help"],
    ["--version"],
    ["layout", "--help"],
    ["layout", "--ram", "1GiB", "--share", "root=128MiB"],
    ["layout", "--ram", "1GiB", "--share", "root=128MiB", "--json"],
    ["config"],
    ["config", "check", "shares.toml"],
    ["demo", "--guest", "none", "--json"],
    ["doctor"],
    ["completion", "bash"],
]

# Once as a shell runs it, and once as containers do, where each write goes straight to the file.
BUFFERING = [{}, {"PYTHONUNBUFFERED": "1"}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shares.toml").write_text('[[shares]]\ntag = "root"\n')
    return tmp_path


def run(
    folder: Path, arguments: list[str], output: int | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the command with a standard output, or a closed one."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | variables
    closing = ["/bin/sh", "-c", 'exec "$@" >&-', "sh"] if output is None else []
    return subprocess.run(
        [*closing, *DAXMAP, *arguments],
        cwd=folder,
        env=environment,
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
def test_printing_succeeds(folder: Path, arguments: list[str]) -> None:
    done = run(folder, arguments, subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("\n")


@pytest.mark.parametrize("variables", BUFFERING, ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
def test_full_disk_is_a_line_and_a_failure(folder: Path, arguments: list[str], variables: dict[str, str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = run(folder, arguments, full.fileno(), **variables)
    assert done.returncode == 1
    assert re.fullmatch(r"daxmap: (standard output: )?No space left on device\n", done.stderr)


@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
def test_closed_output_is_a_line_and_a_failure(folder: Path, arguments: list[str]) -> None:
    done = run(folder, arguments)
    assert (done.returncode, done.stderr) == (1, "daxmap: standard output is closed\n")


@pytest.mark.parametrize("variables", BUFFERING, ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
def test_reader_that_has_left_is_a_failure_without_a_word(
    folder: Path, arguments: list[str], variables: dict[str, str]
) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = run(folder, arguments, write_end, **variables)
    finally:
        os.close(write_end)
    assert (done.returncode, done.stderr) == (1, "")


def test_full_disk_ends_serve_with_a_line_before_anything_is_served(folder: Path) -> None:
    (folder / "share").mkdir()
    with Path("/dev/full").open("w") as full:
        done = run(folder, ["serve", "share", "--socket", "s"], full.fileno())
    assert (done.returncode, done.stderr) == (1, "daxmap: standard output: No space left on device\n")
    assert not (folder / "s").exists()


def test_closed_errors_do_not_change_the_exit_code(folder: Path) -> None:
    for arguments, code in ((["--sizes"], 2), (["config", "check", "none.toml"], 2), (["--version"], 0)):
        done = subprocess.run(
            ["/bin/sh", "-c", 'exec "$@" 2>&-', "sh", *DAXMAP, *arguments],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            timeout=TIMEOUT,
            check=False,
        )
        assert done.returncode == code, arguments


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Children of a process that a shell started in the background would ignore SIGINT, as it does."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_interrupt_ends_a_command_without_a_word(tmp_path: Path) -> None:
    """The command waits for a pipe to bring something; once the pipe opens here, it is known to have come that far."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    command = [*DAXMAP, "config", "check", str(pipe)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process, pipe.open("w"):
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=TIMEOUT) == (b"", b"")
    assert process.returncode == 130


# --- the command line


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which a command line is refused."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err.rstrip("\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["serve", "share", "--socket", "s", "--redonly"],
            "daxmap serve: unknown option --redonly; did you mean --readonly?",
        ),
        (["serve", "share", "--scket=s"], "daxmap serve: unknown option --scket; did you mean --socket?"),
        (["layout", "--rm", "1GiB"], "daxmap layout: unknown option --rm; did you mean --ram?"),
        (["config", "check", "--hlp"], "daxmap config check: unknown option --hlp; did you mean --help?"),
        (["--versoin"], "daxmap: unknown option --versoin; did you mean --version?"),
        (["serve", "share", "--xyz"], "daxmap serve: unknown option --xyz; daxmap serve --help lists the options"),
        (["serve", "share", "--read"], "daxmap serve: unknown option --read; did you mean --readonly?"),
        (["sevre", "share"], "daxmap: unknown command sevre; did you mean serve?"),
        (["config", "chek"], "daxmap config: unknown command chek; did you mean check?"),
        (["mount"], "daxmap: unknown command mount; daxmap --help lists the commands"),
        (["serve", "share"], "daxmap serve: the following arguments are required: --socket"),
        (["layout", "--ram", "1GiB", "--slot", "one"], "daxmap layout: --slot: 'one' is no whole number"),
        (["serve", "share", "--socket", "s", "--readonly=true"], "daxmap serve: --readonly takes no value"),
        (
            ["doctor", "extra"],
            "daxmap doctor: unexpected argument 'extra'; daxmap doctor --help lists the arguments",
        ),
        (
            ["config", "check", "a.toml", "b.toml"],
            "daxmap config check: unexpected argument 'b.toml'; daxmap config check --help lists the arguments",
        ),
    ],
)
def test_bad_command_line_is_refused_in_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(arguments, capsys) == said


@pytest.mark.parametrize("value", ["-1", "-0.5", "-x y"])
def test_value_with_a_dash_is_no_option(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(["layout", "--ram", value], capsys).startswith(f"daxmap layout: --ram: {value!r} is not")


def test_what_comes_after_two_dashes_is_no_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check", "--", "--help.toml"]) == 2
    assert capsys.readouterr().err == "daxmap config check: --help.toml: No such file or directory\n"


@pytest.mark.parametrize("arguments", [[], ["config"]])
def test_command_line_without_a_command_is_a_question_for_help(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--help"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == printed
    assert printed.startswith(" ".join(["usage: daxmap", *arguments]))


@pytest.mark.parametrize("columns", [60, 120])
def test_help_is_as_wide_as_the_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    widest = max(map(len, capsys.readouterr().out.splitlines()))
    assert columns - 20 < widest <= columns


def test_version_names_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"daxmap {daxmap.__version__}\n"


def test_help_imports_nothing_of_what_the_commands_run() -> None:
    def imported_by_help(main: str) -> set[str]:
        program = f"import sys; {main}\ntry: main(['--help'])\nfinally: print(*sys.modules)"
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True)
        return set(done.stdout.splitlines()[-1].split())

    # Later versions of argparse have colours, which are dataclasses.
    own = imported_by_help("import argparse; main = argparse.ArgumentParser().parse_args")
    imported = imported_by_help("from daxmap.cli import main") - own
    assert "daxmap.cli.parser" in imported
    heavy = {"daxmap.demo", "daxmap.serve", "daxmap.doctor", "unicorn", "shtab", "tomllib", "json", "tempfile"}
    heavy |= {"daxmap.config", "daxmap.layout", "dataclasses", "inspect", "logging"}
    assert heavy.isdisjoint(imported)


def test_guests_to_choose_from_are_those_of_the_demo() -> None:
    assert GUESTS == choice.GUESTS


def test_name_of_a_file_that_is_no_utf8_is_printed_with_escapes(folder: Path) -> None:
    (folder / "shares.toml").rename(folder / os.fsdecode(b"\xff.toml"))
    done = run(folder, ["config", "check", os.fsdecode(b"\xff.toml")], subprocess.PIPE, PYTHONIOENCODING="utf-8")
    assert done.returncode == 0
    assert done.stdout.startswith("\\udcff.toml: ok: ")


# --- completion

# Has bash complete the words it is given, and prints what it finds.
COMPLETE = """
eval "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
function=$(complete -p daxmap | sed 's/.* -F \\([^ ]*\\) .*/\\1/')
"$function" 2>/dev/null
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["la"], {"layout"}),
        (["config", ""], {"check"}),
        (["config", "check", "sh"], {"shares.toml", "share"}),
        (["layout", "--sh"], {"--share"}),
        (["layout", "sha"], {"shares.toml", "share"}),
        (["serve", "sh"], {"share"}),
        (["serve", "--socket", "sh"], {"shares.toml", "share"}),
        (["serve", "--dax", "in"], {"inode"}),
        (["demo", "--guest", ""], set(GUESTS)),
        (["completion", "t"], {"tcsh"}),
    ],
)
def test_bash_completes_commands_options_and_files(folder: Path, words: list[str], found: set[str]) -> None:
    (folder / "share").mkdir()
    script = subprocess.run(
        [*DAXMAP, "completion", "bash"], capture_output=True, text=True, timeout=TIMEOUT, check=True
    ).stdout
    completed = subprocess.run(
        ["/bin/bash", "--norc", "-c", COMPLETE, "bash", script, "daxmap", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=True,
    )
    assert set(completed.stdout.split()) == found


@pytest.mark.parametrize(("shell", "mark"), [("zsh", "#compdef daxmap"), ("tcsh", "complete daxmap")])
def test_other_shells_have_scripts(shell: str, mark: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert mark in script
    assert "layout" in script


def test_completion_without_shtab_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"daxmap completion: .*\(pip install 'daxmap\[completion\]'\)\n", err)
