"""The command with all its rights: it says so, and does the same."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from serve.conftest import Serve
from serve.serving import FrontEnd, command
from support.programs import TIMEOUT

pytestmark = pytest.mark.usefixtures("share")


@pytest.mark.parametrize(("dax", "state"), [("always", "waiting"), ("never", "off")])
def test_it_says_so_and_serves_the_same(serve: Serve, dax: str, state: str) -> None:
    serving = serve("--no-confinement", "--dax", dax)
    front_end = serving.connect()
    front_end.ask()
    status = serving.status()
    assert (status["dax"], status["front_end"]) == (state, "connected")
    assert front_end.say(b"\xff" * 64) == b""
    serving.connect().ask()
    serving.signal(signal.SIGTERM)
    code, output, errors = serving.end()
    assert (code, output[-1]["front_end"]) == (0, "gone")
    assert [line.split(": ")[1] for line in errors.splitlines()] == [
        "not confined as it might be",
        "the front end is let go of",
    ]


def test_it_says_all_in_words_as_long_as_somebody_reads(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("share", "--socket", "s", "--no-confinement"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    told = [process.stdout.readline() for _ in range(4)]
    assert [line.split(" ")[0] for line in told] == ["serving", "QEMU", "crosvm:", "in"]
    os.kill(process.pid, signal.SIGUSR1)
    told = [process.stdout.readline() for _ in range(3)]
    assert told[1:] == ["front end: none\n", "nothing was mapped\n"]
    process.stdout.close()
    os.kill(process.pid, signal.SIGUSR1)
    front_end = FrontEnd(tmp_path / "s")
    front_end.ask()
    front_end.close()
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(TIMEOUT) == 0
