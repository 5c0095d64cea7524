"""QEMU for some kind of machine: this system's, if it is new enough, or Debian's."""

import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from debian_packages.apt import BACKPORTS, Apt, unpack
from debian_packages.cache import made_once

LEAST_VERSION = 11
"""From this version on, vhost-user devices may have shared memory regions."""
PACKAGES = {"x86_64": "qemu-system-x86", "aarch64": "qemu-system-arm", "ppc64": "qemu-system-ppc"}
"""By the kind of machine, in QEMU's words."""
_FIRMWARE = ("usr/share/seabios", "usr/share/qemu")


@dataclass(frozen=True)
class Qemu:
    """How to start it."""

    command: tuple[str, ...]
    version: str
    environment: dict[str, str] = field(default_factory=dict)


def get_qemu(apt: Apt, cache: Path, machine: str) -> Qemu:
    """This system's, if it is new enough; else Debian's, fetched at the first call."""
    program = f"qemu-system-{machine}"
    installed = shutil.which(program)
    if installed is not None:
        version = _version(installed)
        if int(version.split(".")[0]) >= LEAST_VERSION:
            return Qemu((installed,), version)
    tree = fetch_qemu(apt, cache, machine)
    # Its libraries are beside it, the C library too. So it is started by its own loader.
    libraries = tree / "usr/lib/x86_64-linux-gnu"
    loader = (
        str(libraries / "ld-linux-x86-64.so.2"),
        "--library-path",
        str(libraries),
        str(tree / "usr/bin" / program),
    )
    firmware = [word for folder in _FIRMWARE for word in ("-L", str(tree / folder))]
    return Qemu((*loader, *firmware), _version(*loader), {"QEMU_MODULE_DIR": str(libraries / "qemu")})


def fetch_qemu(apt: Apt, cache: Path, machine: str) -> Path:
    """Debian's, with all that it needs, in a folder."""
    package = PACKAGES[machine]
    return made_once(cache / package, lambda folder: unpack(apt.fetch(package, release=BACKPORTS), folder))


def _version(*command: str) -> str:
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True, timeout=30)
    found = re.search(r"version (\d+\.\d+\.\d+)", done.stdout)
    assert found is not None, done.stdout
    return found[1]
