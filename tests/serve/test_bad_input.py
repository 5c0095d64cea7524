"""What cannot be served: one line that says why, the exit code 2, and nothing left behind."""

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from serve.conftest import Serve
from serve.serving import command
from support.programs import TIMEOUT

# Changes to the user nobody after the imports: perhaps only its owner may read the interpreter's files.
AS_NOBODY = """
import locale, os, shutil, sys
import daxmap.serve
from daxmap.cli import main
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
sys.exit(main(["serve", *sys.argv[1:]]))
"""


def refusal(folder: Path, *arguments: str, nobody: bool = False, files: int | None = None) -> str:
    """The line that the command ends with."""

    def limit() -> None:
        if files is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

    before = sorted(folder.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, *arguments] if nobody else command(*arguments),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
        preexec_fn=limit,  # the child has one thread
    )
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert sorted(folder.rglob("*")) == before
    match = re.fullmatch(r"daxmap serve: (.+)\n", done.stderr)
    assert match, done.stderr
    return match[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["file", "--socket", "s"], "file: Not a directory"),
        (["missing", "--socket", "s"], "missing: No such file or directory"),
        (["share", "--socket", "missing/s"], "missing/s: No such file or directory"),
        (["share", "--socket", "file"], "file: there is a file that is no socket"),
        (["share", "--socket", "share"], "share: there is a file that is no socket"),
        (["share", "--socket", "x" * 108], f"{'x' * 108}: its path has 108 bytes, and a socket's has 107 at most"),
        (["share", "--socket", "s", "--window", "3MiB"], "--window: 3MiB is no power of two from 2MiB to 1TiB"),
        (["share", "--socket", "s", "--window", "1MiB"], "--window: 1MiB is no power of two from 2MiB to 1TiB"),
        (["share", "--socket", "s", "--window", "many"], "--window: 'many' is not a whole number with a binary unit"),
        (["share", "--socket", "s", "--tag", ""], "--tag: an empty tag; no guest could mount it"),
        (["share", "--socket", "s", "--tag", "é" * 19], f"--tag: '{'é' * 19}' takes 38 bytes of UTF-8"),
        (["share", "--socket", "/"], "--socket: '/' names no file"),
        (
            ["share", "--socket", "s", "--min-size", "1KiB"],
            "--min-size: it chooses among files, which takes --dax inode",
        ),
        (["share", "--socket", "s", "--dax", "inode", "--min-size", "1"], "--min-size: '1' is not a whole number"),
        (["share", "--socket", "s", "--threads", "0"], "--threads: 0 is not in the range 1 to 63"),
        (["share", "--socket", "s", "--threads", "64"], "--threads: 64 is not in the range 1 to 63"),
        (["share", "--socket", "s", "--threads", "many"], "--threads: 'many' is no whole number"),
    ],
)
def test_bad_argument_is_named(tmp_path: Path, share: Path, arguments: list[str], said: str) -> None:
    assert share.is_dir()
    (tmp_path / "file").touch()
    assert refusal(tmp_path, *arguments).startswith(said)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change to another user")
def test_unreadable_directory_is_named(tmp_path: Path, share: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    share.chmod(0o700)
    assert refusal(tmp_path, "share", "--socket", "/tmp/never", nobody=True) == "share: Permission denied"  # noqa: S108


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change to another user")
def test_owner_guest_needs_the_right_to_act_as_others(tmp_path: Path, share: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    tmp_path.chmod(0o777)
    assert share.is_dir()
    said = refusal(tmp_path, "share", "--socket", "s", "--owner", "guest", nobody=True)
    assert "Operation not permitted" in said


def test_few_descriptors_are_named(tmp_path: Path, share: Path) -> None:
    assert share.is_dir()
    assert "max_open" in refusal(tmp_path, "share", "--socket", "s", files=64)


def test_second_server_is_refused_and_the_first_unharmed(tmp_path: Path, share: Path, serve: Serve) -> None:
    assert share.is_dir()
    first = serve("--once")
    assert refusal(tmp_path, "share", "--socket", "s") == "s: another server listens there"
    assert first.status()["front_end"] == "none"
    front_end = first.connect()
    front_end.ask()
    assert refusal(tmp_path, "share", "--socket", "s") == "s: another server listens there"
    assert first.status()["front_end"] == "connected"
    front_end.close()
    assert first.end()[0] == 0


def test_socket_that_nobody_has_any_more_is_replaced(tmp_path: Path, share: Path, serve: Serve) -> None:
    assert share.is_dir()
    old = serve()
    old.signal(9)
    old.end()
    assert (tmp_path / "s").is_socket()
    serve().connect().ask()
