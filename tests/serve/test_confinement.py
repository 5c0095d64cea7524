"""What the process has given up by the time it serves."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from serve.conftest import Serve
from support.programs import TIMEOUT

# A process that is confined as the command is, and tries what it must not do.
TRIES = """
import errno, json, os, socket, sys
from daxmap._core import _Device

def tries(call):
    try:
        call()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"

os.chdir(sys.argv[1])
device = _Device("share", "s", "tag", 2 << 20, 1, sys.argv[2] == "readonly", "always", 0, "host", "auto", True)
print(json.dumps({
    "lacks": device.confinement[1],
    "inside": tries(lambda: open("share/file").close()),
    "write": tries(lambda: open("share/file", "r+").close()),
    "make": tries(lambda: open("share/new", "w").close()),
    "outside": tries(lambda: open("/bin/sh").close()),
    "beside": tries(lambda: open("secret").close()),
    "execute": tries(lambda: os.execv("/bin/true", ["true"])),
    "connect": tries(lambda: socket.socket()),
    "chroot": tries(lambda: os.chroot("share")),
}))
device.close()
print(os.path.exists("s"))
"""


def tries(folder: Path, how: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", TRIES, str(folder), how], capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    assert done.returncode == 0, done.stderr
    found, left = done.stdout.splitlines()
    assert left == "False", "the socket goes all the same"
    answers: dict[str, object] = json.loads(found)
    if answers.pop("lacks"):
        pytest.skip("this kernel has less")
    return answers


def test_nothing_outside_the_directory_is_reached(tmp_path: Path, share: Path) -> None:
    (tmp_path / "secret").touch()
    assert share.is_dir()
    assert tries(tmp_path, "writable") == {
        "inside": "done",
        "write": "done",
        "make": "done",
        "outside": "EACCES",
        "beside": "EACCES",
        "execute": "EPERM",
        "connect": "EPERM",
        "chroot": "EPERM",
    }


def test_read_only_share_cannot_be_written_by_the_server_itself(tmp_path: Path, share: Path) -> None:
    (tmp_path / "secret").touch()
    answers = tries(tmp_path, "readonly")
    assert (answers["inside"], answers["write"], answers["make"]) == ("done", "EACCES", "EACCES")
    assert not (share / "new").exists()


@pytest.mark.usefixtures("share")
def test_threads_are_confined_too(serve: Serve) -> None:
    serving = serve()
    for task in Path(f"/proc/{serving.pid}/task").iterdir():
        status = (task / "status").read_text()
        found = dict(re.findall(r"(NoNewPrivs|Seccomp):\t(\d)", status))
        assert found == {"NoNewPrivs": "1", "Seccomp": "2"}, status


@pytest.mark.usefixtures("share")
def test_all_descriptors_that_may_be_had_are(serve: Serve) -> None:
    limits = Path(f"/proc/{serve().pid}/limits").read_text()
    soft, hard = next(line.split()[3:5] for line in limits.splitlines() if line.startswith("Max open files"))
    assert soft == hard
