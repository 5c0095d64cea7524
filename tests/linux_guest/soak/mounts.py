"""Boots and mounts, one after the other, until the time is over."""

import random
import time
from pathlib import Path

from emulation.processes import HangError
from linux_guest.initramfs import build_initramfs
from linux_guest.rig import MIB
from linux_guest.server import Server
from linux_guest.soak import checks, report
from linux_guest.soak.guest_machine import GuestMachine
from linux_guest.soak.guest_work import Crew
from linux_guest.soak.host_actions import Host
from linux_guest.soak.programs import build_gone_pages, build_worker
from linux_guest.soak.samples import Record, Sample, Speed
from linux_guest.soak.share import Disk, make_files
from linux_guest.system import System

WINDOW = 16 * MIB
"""A small part of what the files take: the guest has to give ranges back all the time."""
MOUNTED = 20
"""Seconds from a mount to its unmount, or a little more."""
LOOK = 2
"""Seconds from one look at everything to the next."""
FULL = 8, 13
"""From here to there of these seconds the disk is full."""
MOUNTS = 6
"""In so many mounts there is one boot: the second one ends with a power-off, then each sixth."""
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536"}
"""For the server's C library: what is freed of copies of files goes back to the system, and what is not freed shows."""
PAUSE = 0.05
"""Seconds between two actions of the host."""


class Soak:
    """A server, a host and guests."""

    def __init__(self, system: System, folder: Path, disk: Disk, seed: int) -> None:
        self._system, self._folder, self._disk, self._seed = system, folder, disk, seed
        self.host = Host(disk, random.Random(seed))  # noqa: S311
        make_files(disk.share)
        self._gone_pages = build_gone_pages(folder)
        build_initramfs(folder / "initramfs", system.kernel, system.busybox, system.agent, build_worker(folder))
        options = ["--window", f"{WINDOW // MIB}MiB"]
        self._server = Server("share", disk.share, folder, options, GIVE_BACK)
        self.record = Record()

    def run(self, seconds: float) -> list[str]:
        """What is wrong at the end. What is wrong on the way is an exception, and ends it."""
        end, boots = time.monotonic() + seconds, 0
        with self._server.process:
            self._server.wait_until_ready()
            while time.monotonic() < end:
                self._boot(boots := boots + 1, end)
            self.record.status = self._server.end()
        record = self.record
        return [
            *checks.unknown_warnings(record.warnings),
            *checks.growth(record.samples),
            *checks.slowness(record.speeds),
            *checks.absence(record.work),
        ]

    def _boot(self, number: int, end: float) -> None:
        """From a boot to a power-off."""
        machine = GuestMachine(self._system, self._gone_pages, self._folder, self._server, number)
        with machine.qemu:
            machine.wait_until_booted()
            is_last = False
            while not is_last:
                mount = len(self.record.samples) + 1
                is_last = time.monotonic() + MOUNTED >= end or mount % MOUNTS == 2
                self._mount(machine, mount)
            machine.power_off()
        checks.check_kernel_log(machine.log)
        self.record.warnings += checks.kernel_warnings(machine.log)
        self.record.gone += machine.gone()

    def _mount(self, machine: GuestMachine, number: int) -> None:
        """One mount, from the workers' start to a look at what they have left."""
        started = time.monotonic()
        machine.mount()
        crew = Crew(machine.guest, self._seed + number, machine.mount_point)
        try:
            self._let_work(machine, crew)
            own = crew.stop()
        except HangError:
            crew.tell_where_they_wait()
            raise
        machine.unmount()
        checks.check_files(self._disk.share, own)
        status = self._server.status()
        checks.check_counters(status, WINDOW, is_quiet=True)
        sample = Sample.of(self._server.process.pid)
        self.record.work.add(crew.work)
        self.record.samples.append(sample)
        self.record.status = status
        print(report.line(number, time.monotonic() - started, crew.work, status, sample), flush=True)

    def _let_work(self, machine: GuestMachine, crew: Crew) -> None:
        """Guest and host do what they do, and are looked at."""
        start, before, spent = time.monotonic(), 0, machine.processor_time()
        while (passed := time.monotonic() - start) < MOUNTED or self._disk.is_full:
            self._let_host_act(is_full=FULL[0] <= passed < FULL[1])
            count, now = crew.look().count, machine.processor_time()
            self.record.speeds.append(Speed(count - before, now - spent))
            before, spent = count, now
            checks.check_kernel_log(machine.log)
            checks.check_server_log(self._server.errors)
            checks.check_counters(self._server.status(), WINDOW, is_quiet=False)

    def _let_host_act(self, *, is_full: bool) -> None:
        until = time.monotonic() + LOOK
        while time.monotonic() < until:
            self._disk.be_full(is_full=is_full)
            self.host.act()
            time.sleep(PAUSE)
