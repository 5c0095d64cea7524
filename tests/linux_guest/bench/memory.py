"""What a second guest takes of the host's memory to read what the first has read."""

from pathlib import Path

from debian_packages.apt import Apt
from linux_guest.bench.mounts import DAX, PLAIN, VIRTIOFSD, Machine, Mount, booted
from linux_guest.bench.work import PAGES, SIZE
from linux_guest.rig import MIB
from linux_guest.system import System

Memory = dict[Mount, float]
"""MiB of a guest's RAM that hold what it has read of the large file."""


def second_guest(system: System, apt: Apt, cache: Path, folder: Path, host: Path) -> Memory:
    """Boot it beside the first, and read the large file by each way."""
    with booted(system, apt, cache, folder, host) as machine:
        return {mount: _read(machine, mount) for mount in (DAX, PLAIN, VIRTIOFSD)}


def _read(machine: Machine, mount: Mount) -> float:
    with machine.mounted(mount):
        before = _cached(machine)
        with machine.guest.mapped(f"{mount.path}/large", SIZE) as address:
            machine.guest.touch(address, PAGES, 1, PAGES)
            return (_cached(machine) - before) / MIB


def _cached(machine: Machine) -> int:
    """Bytes of RAM that hold contents of files."""
    return int(machine.guest.shell("grep ^Cached: /proc/meminfo").split()[1]) * 1024
