"""Interpreters of Debian, each in a folder of its own: nothing is installed."""

import platform
import subprocess
import sys
from pathlib import Path

from debian_packages.apt import Apt, unpack
from debian_packages.cache import made_once
from debian_packages.skipping import SkippedError

RELEASES = {"3.11": "bookworm", "3.13": "trixie", "3.14": "forky", "3.15": "forky"}
"""By version. Of 3.12 no release has one, and none has one that is free-threaded."""
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def get_python(version: str, cache: Path, patchelf: str) -> Path:
    """An executable, fetched at the first call, or SkippedError.

    Its loader, the C library and all else that it needs are those of its release, whatever this machine has.
    """
    machine = platform.machine()
    if version not in RELEASES or machine not in _ARCHITECTURES or sys.platform != "linux":
        raise SkippedError(f"no CPython {version} in PATH or pyenv, and Debian has none (pyenv install {version})")
    tree, program, release = cache / f"debian-{version}", f"usr/bin/python{version}", RELEASES[version]

    def make(folder: Path) -> None:
        apt = Apt(cache / f"apt-{release}", _ARCHITECTURES[machine], [release])
        unpack(apt.fetch(f"python{version}", release=release), folder)
        apt.clean()
        _bind(folder, program, tree, patchelf)

    return made_once(tree, make) / program


def _bind(folder: Path, program: str, tree: Path, patchelf: str) -> None:
    """Have a program of a folder start with the loader and the libraries there, once the folder has become `tree`."""
    executable = str(folder / program)
    command = [patchelf, "--print-interpreter", executable]
    loader = Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()).name
    places = [f"{parent}/{platform.machine()}-linux-gnu" for parent in ("usr/lib", "lib")]  # the latter until bookworm
    own = next(str(tree / place / loader) for place in places if (folder / place / loader).exists())
    libraries = ":".join(str(tree / place) for place in places)
    # An RPATH, unlike a RUNPATH, is that of the extension modules too.
    command = [patchelf, "--set-interpreter", own, "--force-rpath", "--set-rpath", libraries, executable]
    subprocess.run(command, check=True)
