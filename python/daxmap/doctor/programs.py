"""Programs and packages that daxmap can use, and does without."""

import os
import re
import subprocess
from contextlib import suppress
from pathlib import Path

from daxmap.doctor.fact import Fact, ok, told, warn

__all__ = ["qemu", "unicorn"]

_QEMU_NEEDED = (11, 1)
_UNICORN_NEEDED = (2, 1)
_TIMEOUT = 10.0


def unicorn() -> Fact:
    """The emulator unicorn."""
    name, remedy = "unicorn", "pip install 'daxmap[demo]'"
    without = "the demo has a guest only where there is KVM"
    try:
        from unicorn import __version__ as version  # noqa: PLC0415  (there only with the extra)
    except (ImportError, OSError) as error:  # the latter for its library
        return warn(name, f"{error}: {without}", remedy)
    if _numbers(version) < _UNICORN_NEEDED:
        return warn(name, f"{version}, not 2.1 or later: {without}", remedy)
    return ok(name, version)


def qemu(machine: str, path: str, *, timeout: float = _TIMEOUT) -> Fact:
    """A QEMU for `daxmap serve`.

    Args:
        machine: the architecture, as `platform.machine` names it: the emulator of this one is preferred.
        path: the directories in which to look, as in the environment variable PATH.
        timeout: seconds after which it is taken for hanging.
    """
    name, remedy = "qemu", "install QEMU 11.1 or later, if `daxmap serve` is to serve it; crosvm is another front end"
    program = _find_qemu(machine, path)
    if program is None:
        return warn(name, "there is no qemu-system-* in PATH", remedy)
    try:
        command = [str(program), "--version"]
        done = subprocess.run(  # noqa: S603  (what the user would start, too)
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False
        )
    except OSError as error:
        return warn(name, f"{program} does not start: {told(error)}", remedy)
    except subprocess.TimeoutExpired:
        return warn(name, f"{program} does not tell its version: no answer in {timeout:g} s", remedy)
    found = re.search(r"version (\d+(?:\.\d+)+)", done.stdout.decode(errors="replace"))
    if done.returncode != 0 or found is None:
        return warn(name, f"{program} does not tell its version (exit code {done.returncode})", remedy)
    if _numbers(found[1]) < _QEMU_NEEDED:
        return warn(name, f"{program} is version {found[1]}: it has no DAX window for `daxmap serve`", remedy)
    return ok(name, f"{program} is version {found[1]}: `daxmap serve` can serve it, with DAX")


def _find_qemu(machine: str, path: str) -> Path | None:
    """The emulator that a shell would find: of this machine, else of any."""
    found: dict[str, Path] = {}
    for directory in filter(None, path.split(os.pathsep)):
        with suppress(OSError):  # of a directory that may not be searched: a shell passes over it, too
            for program in sorted(Path(directory).glob("qemu-system-*")):
                if program.is_file() and os.access(program, os.X_OK):
                    found.setdefault(program.name, program)
    return found.get(f"qemu-system-{machine}") or next(iter(found.values()), None)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))
