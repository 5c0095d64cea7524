"""What a second guest takes of the host's memory to read what the first has read."""

from pathlib import Path

from debian_packages.apt import Apt
from emulation.processes import Process
from linux_guest.bench.mounts import DAX, PLAIN, VIRTIOFSD, Machine, Mount, booted
from linux_guest.bench.work import PAGES, SIZE
from linux_guest.rig import MIB
from linux_guest.system import System

Memory = dict[Mount, float]
"""MiB that reading the large file has added to a guest's RAM, as the host sees it."""


def second_guest(system: System, apt: Apt, cache: Path, folder: Path, host: Path) -> Memory:
    """Boot it beside the first, and read the large file by each way."""
    with booted(system, apt, cache, folder, host) as machine:
        return {mount: _read(machine, mount) for mount in (DAX, PLAIN, VIRTIOFSD)}


def _read(machine: Machine, mount: Mount) -> float:
    """The file stays in memory afterwards: no later one takes its pages."""
    machine.mount_cold(mount)
    before = _ram(machine.qemu)
    with machine.guest.mapped(f"{mount.path}/large", SIZE) as address:
        machine.guest.touch(address, PAGES, 1, PAGES)
    return (_ram(machine.qemu) - before) / MIB


def _ram(qemu: Process) -> int:
    """Bytes of the guest's RAM that the host has given pages to: it is a file without a name, which QEMU keeps open."""
    for number in Path(f"/proc/{qemu.pid}/fd").iterdir():
        if str(number.readlink()).startswith("/memfd:memory-backend-memfd"):
            return number.stat().st_blocks * 512
    raise AssertionError("the guest's RAM is no memfd of QEMU's")
