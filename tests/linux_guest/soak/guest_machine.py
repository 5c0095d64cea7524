"""The guest's machine, which is booted anew now and then while the server stays."""

import time
from errno import EBUSY
from pathlib import Path

from emulation.processes import HangError, Process
from linux_guest.guest import Guest
from linux_guest.machine import machine
from linux_guest.run import AGENT, BOOT_LIMIT, OFF_LIMIT
from linux_guest.server import Server
from linux_guest.soak.samples import processor_time
from linux_guest.system import System

_HUNG = 30
"""Seconds after which the kernel says that a process hangs."""
_BUSY_LIMIT = 30
"""Seconds in which the share is in use by nobody any more."""


class GuestMachine:
    """QEMU, from a boot to a power-off, and the share in it."""

    mount_point = "/share"

    def __init__(self, system: System, gone_pages: Path, folder: Path, server: Server, number: int) -> None:
        self._server = server
        self.log = folder / f"console-{number}.log"
        self._errors = folder / f"qemu-{number}-errors.log"
        command = [*system.qemu.command, *machine(system.kernel, "initramfs", [server.socket], "loglevel=7")]
        environment = {**system.qemu.environment, "LD_PRELOAD": str(gone_pages)}
        self.qemu = Process(
            f"qemu-{number}", [*command, "-serial", f"file:{self.log.name}", *AGENT], folder, environment
        )
        self.guest = Guest(self.qemu)

    def wait_until_booted(self) -> None:
        """Wait, and prepare the system."""
        self.guest.wait_until_ready(BOOT_LIMIT)
        self.guest.shell(f"mkdir {self.mount_point}; echo {_HUNG} >/proc/sys/kernel/hung_task_timeout_secs")

    def mount(self) -> None:
        """The share, with DAX."""
        self.guest.mount(self._server.tag, self.mount_point, "dax")

    def unmount(self) -> None:
        """As soon as nothing uses it: a worker that has said its last word is still on its way out."""
        deadline = time.monotonic() + _BUSY_LIMIT
        while not self._is_unmounted():
            if time.monotonic() > deadline:
                raise HangError("the share is in use, though all workers have ended")

    def _is_unmounted(self) -> bool:
        try:
            self.guest.unmount(self.mount_point)
        except OSError as error:
            if error.errno != EBUSY:
                raise
            return False
        return True

    def power_off(self) -> None:
        """After an unmount: QEMU 11.1 does not survive another end."""
        self.guest.power_off()
        assert self.qemu.wait(OFF_LIMIT) == 0, f"{self.qemu.name} has failed"

    def processor_time(self) -> float:
        """Seconds of QEMU's."""
        return processor_time(self.qemu.pid)

    def gone(self) -> int:
        """How many pages QEMU has found gone, as gone_pages.c says."""
        return self._errors.read_text(errors="replace").count("a page is gone")
