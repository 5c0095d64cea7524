"""The wheel and the sdist as a user gets them, and a place outside the repository that has only the wheel."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.paths import PROJECT
from support.programs import TIMEOUT


def run(*command: str | Path, directory: Path, **environment: str) -> str:
    """What a command prints that must succeed."""
    done = run_anyhow(*command, directory=directory, **environment)
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    return done.stdout


def run_anyhow(*command: str | Path, directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The outcome of a command. It finds packages as a user's would, and prints no colours."""
    ours = {"PYTHONPATH", "MYPYPATH", "VIRTUAL_ENV", "FORCE_COLOR", "MYPY_FORCE_COLOR"}
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    return subprocess.run(
        command,
        cwd=directory,
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )


def build(directory: Path, *command: str) -> Path:
    """The archive that a command of maturin makes of this tree. What cargo built before, it does not build again.

    One at a time: maturin moves the library away while it packs it, and two files of tests run at once.
    """
    if shutil.which("cargo") is None:
        pytest.skip("no Rust toolchain: nothing can be built")
    with (PROJECT / "pyproject.toml").open("rb") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        run(sys.executable, "-m", "maturin", *command, "--out", directory, directory=PROJECT)
    [archive] = directory.iterdir()
    return archive


class Outside:
    """A virtual environment in a directory of its own, with the wheel installed, offline and without any extra."""

    def __init__(self, directory: Path, wheel: Path | None) -> None:
        """Install a wheel, or the one that this tree makes."""
        self.directory = directory
        self.python = directory / "venv" / "bin" / "python"
        command = ("build", "--release", "--offline", "--interpreter", sys.executable)
        self.wheel = wheel or build(directory / "dist", *command)
        run(sys.executable, "-m", "venv", "--without-pip", directory / "venv", directory=directory)
        pip = (sys.executable, "-m", "pip", "--python", self.python, "install", "--quiet", "--no-index")
        run(*pip, self.wheel, directory=directory)
        [self.package] = directory.glob("venv/lib/python3*/site-packages/daxmap")

    def run(self, *arguments: str | Path) -> str:
        """What Python prints there; a warning is an error."""
        return run(self.python, "-W", "error", *arguments, directory=self.directory)
