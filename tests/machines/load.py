"""What each run brings along: the wheel, the tests and what they look at, and the job."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from debian_packages.cache import CACHE
from machines.kinds import Kind
from machines.system import install
from support.paths import PROJECT

_TREES = ("tests", "examples", "docs", "stubs", "scripts")
_FILES = ("*.md", "*.toml", "LICENSE-*")


def make_load(folder: Path, kind: Kind, wheel: Path, job: Path, kept: Iterable[Path]) -> None:
    """Fill a folder with what is to lie at the root of the machine.

    Args:
        folder: Empty.
        kind: The machine.
        wheel: To be installed there.
        job: What is to run.
        kept: What this machine has kept of other runs and that one is to find as its own.
    """
    load = folder / "load"
    for name in _TREES:
        shutil.copytree(PROJECT / name, load / name, ignore=shutil.ignore_patterns("__pycache__"))
    for pattern in _FILES:
        for path in PROJECT.glob(pattern):
            shutil.copy(path, load)
    shutil.copy(job, load / "job.sh")
    site = install(folder, kind, "--no-deps", str(wheel))
    # pip wrote it for this system's interpreter.
    _, _, program = (site / "bin/daxmap").read_text().partition("\n")
    (folder / "usr/local/bin").mkdir(parents=True)
    (command := folder / "usr/local/bin/daxmap").write_text(f"#!/usr/bin/python3\n{program}")
    command.chmod(0o755)
    for path in kept:
        shutil.copytree(path, load / CACHE.relative_to(PROJECT) / path.relative_to(CACHE), symlinks=True)
