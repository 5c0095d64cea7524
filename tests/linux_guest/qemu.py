"""QEMU as a front end of vhost-user devices that have shared memory regions: from version 11 on."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from linux_guest.cache import made_once
from linux_guest.debian import BACKPORTS, Apt, unpack
from linux_guest.kernels import Kernel

LEAST_VERSION = 11
_NAME = "qemu-system-x86_64"
_FIRMWARE = ("usr/share/seabios", "usr/share/qemu")


@dataclass(frozen=True)
class Qemu:
    """How to start it."""

    command: tuple[str, ...]
    version: str
    environment: dict[str, str] = field(default_factory=dict)


def get_qemu(apt: Apt, cache: Path) -> Qemu:
    """This system's, if it is new enough; else Debian's, fetched at the first call."""
    installed = shutil.which(_NAME)
    if installed is not None:
        version = _version(installed)
        if int(version.split(".")[0]) >= LEAST_VERSION:
            return Qemu((installed,), version)
    tree = made_once(cache / "qemu", lambda folder: unpack(apt.fetch("qemu-system-x86", BACKPORTS), folder))
    # Its libraries are beside it, the C library too. So it is started by its own loader.
    libraries = tree / "usr/lib/x86_64-linux-gnu"
    loader = (str(libraries / "ld-linux-x86-64.so.2"), "--library-path", str(libraries), str(tree / "usr/bin" / _NAME))
    firmware = [word for folder in _FIRMWARE for word in ("-L", str(tree / folder))]
    return Qemu((*loader, *firmware), _version(*loader), {"QEMU_MODULE_DIR": str(libraries / "qemu")})


def _version(*command: str) -> str:
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True, timeout=30)
    found = re.search(r"version (\d+\.\d+\.\d+)", done.stdout)
    assert found is not None, done.stdout
    return found[1]


def machine(kernel: Kernel, initramfs: str, sockets: Sequence[str], append: str) -> list[str]:
    """Arguments of a guest with two processors and 512 MiB, which has a virtiofs device behind each socket.

    vhost-user-fs-pci has no window in QEMU 11. The device for tests has one, and is given virtiofs' number (26), its
    two queues and the 40 bytes of its configuration here.
    """
    # A 64-bit kernel does not boot under every /dev/kvm. And an emulator with a thread a processor hung now and then
    # at boot: one thread runs both processors, by turns.
    accelerator = os.environ.get("ACCEL", "tcg,thread=single")
    arguments = ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    arguments += ["-run-with", "exit-with-parent=on", "-machine", "q35,memory-backend=ram"]
    arguments += ["-accel", accelerator, "-cpu", "max,la57=off", "-smp", "2", "-m", "512"]
    arguments += ["-object", "memory-backend-memfd,id=ram,size=512M,share=on"]
    arguments += ["-kernel", str(kernel.image), "-initrd", initramfs, "-append", f"console=ttyS0 panic=-1 {append}"]
    for number, socket in enumerate(sockets):
        arguments += ["-chardev", f"socket,id=fs{number},path={socket}", "-device"]
        arguments += [f"vhost-user-test-device-pci,chardev=fs{number},virtio-id=26,num_vqs=2,config_size=40"]
    return arguments
