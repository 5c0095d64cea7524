"""Interpreters: this machine's, or Debian's."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from debian_packages.skipping import SkippedError
from pythons.debian import get_python

VERSIONS = ("3.11", "3.12", "3.13", "3.14", "3.15", "3.14t")
"""Those that the wheels are for. A `t` is for free-threaded."""

_PROBE = """
import ctypes, ssl, sys, sysconfig, venv
threads = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
print("{}.{}".format(*sys.version_info) + threads, "{}.{}.{}".format(*sys.version_info), sys.executable)
"""


@dataclass(frozen=True)
class Interpreter:
    """One that can make a virtual environment."""

    path: str
    name: str


def find_interpreter(version: str, cache: Path, patchelf: str) -> Interpreter:
    """This machine's, or Debian's, or SkippedError."""
    for path in _candidates(version):
        if (found := _examine(path, version)) is not None:
            return found
    path = get_python(version, cache, patchelf)
    if (found := _examine(path, version)) is not None:
        return found
    raise SkippedError(f"{path}, which is Debian's, does not run here")


def _candidates(version: str) -> Iterator[Path]:
    """Where one may be. Not all are: pyenv puts a shim for each version into PATH, whether it may be used or not."""
    yield from (Path(folder, f"python{version}") for folder in os.get_exec_path())
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from pyenv.glob(f"versions/*/bin/python{version}")


def _examine(path: Path, version: str) -> Interpreter | None:
    """None, unless it is of this version and has what tests and tools need of the standard library."""
    try:
        done = subprocess.run([path, "-c", _PROBE], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    found, full, executable = done.stdout.rstrip("\n").split(" ", 2)
    return Interpreter(executable, f"CPython {full} ({executable})") if found == version else None
