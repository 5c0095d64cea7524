"""What boots stock Linux guests: QEMU, Debian's kernels, busybox, and the program that acts for the checks."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from debian_packages.apt import BACKPORTS, STABLE, Apt
from emulation.kernels import Kernel, get_kernel
from emulation.qemu import Qemu, get_qemu
from linux_guest.initramfs import build_agent, get_busybox

DRIVERS = ("virtio_pci", "virtiofs")


@dataclass(frozen=True)
class System:
    """What it takes to boot one kernel."""

    qemu: Qemu
    kernel: Kernel
    busybox: Path
    agent: Path

    @property
    def kept(self) -> list[Path]:
        """The folders of the cache that it uses, but for that of QEMU."""
        return [self.kernel.folder, self.busybox.parents[2]]


def releases() -> list[str]:
    """Debian's releases whose kernels are booted. From 7.1 on, which backports has, the guest checks every reply."""
    return os.environ.get("RELEASES", f"{STABLE} {BACKPORTS}").split()


def set_up(cache: Path, folder: Path) -> list[System]:
    """Fetch what is not there yet."""
    started = time.monotonic()
    agent = build_agent(folder)
    apt = Apt(cache / "apt")
    qemu = get_qemu(apt, cache, "x86_64")
    busybox = get_busybox(apt, cache)
    kernels = [get_kernel(apt, cache, "linux-image-amd64", release, DRIVERS) for release in releases()]
    systems = [System(qemu, kernel, busybox, agent) for kernel in kernels]
    apt.clean()
    print(
        f"QEMU {qemu.version} and {len(systems)} kernels are there after {time.monotonic() - started:.0f} s", flush=True
    )
    return systems
