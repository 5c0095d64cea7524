"""What a guest gets of DAX: `make bench-guest`. Ratios only: the guest is emulated, and its times mean nothing.

Three shares of one directory are mounted: with DAX, by the same server without, and by Debian's virtiofsd with its
cache as it comes. Each round mounts one after the other anew, and reads the same file by mmap(2): so each starts cold.
"""

import statistics
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from debian_packages.apt import STABLE, Apt, unpack
from debian_packages.cache import made_once
from emulation.processes import Process
from linux_guest.guest import PAGE, Guest
from linux_guest.initramfs import build_initramfs
from linux_guest.machine import machine
from linux_guest.rig import MIB
from linux_guest.run import AGENT, BOOT_LIMIT, CONSOLE
from linux_guest.server import Server
from linux_guest.system import System

ROUNDS = 5
SIZE = 64 * MIB
PAGES = SIZE // PAGE
RANDOM = 6151
"""A stride that has no factor in common with the number of pages: the order of a file that is read here and there."""
VISITS = 4096
WINDOW = 128 * MIB
DAX, PLAIN, VIRTIOFSD = "dax", "plain", "virtiofsd"
_OPTIONS = {DAX: "dax", PLAIN: "", VIRTIOFSD: ""}


@dataclass
class Measured:
    """Of one share, a value a round."""

    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, what: str, value: float) -> None:
        self.values.setdefault(what, []).append(value)


def run_bench(system: System, apt: Apt, cache: Path, folder: Path) -> int:
    """Measure, and print the ratios."""
    folder.mkdir()
    (host := folder / "files").mkdir()
    (host / "file").write_bytes(b"a byte that is no zero" * (SIZE // 22 + 1))
    with ExitStack() as stack:
        for tag, options in ((DAX, ["--window", f"{WINDOW // MIB}MiB"]), (PLAIN, ["--dax", "never"])):
            server = Server(tag, host, folder, options)
            stack.enter_context(server.process)
            server.wait_until_ready()
        stack.enter_context(_virtiofsd(apt, cache, host, folder))
        sockets = [f"{tag}.sock" for tag in _OPTIONS]
        build_initramfs(folder / "initramfs", system.kernel, system.busybox, system.agent)
        command = [*system.qemu.command, *machine(system.kernel, "initramfs", sockets, "quiet"), *CONSOLE, *AGENT]
        guest = Guest(qemu := stack.enter_context(Process("qemu", command, folder, system.qemu.environment)))
        guest.wait_until_ready(BOOT_LIMIT)
        measured = {tag: Measured() for tag in _OPTIONS}
        for tag in _OPTIONS:
            guest.call("mkdir", f"/{tag}", 0o755)
        for _ in range(ROUNDS):
            for tag in _OPTIONS:
                _round(guest, tag, measured[tag])
        guest.power_off()
        qemu.wait(BOOT_LIMIT)
    _print(measured)
    return 0


def _virtiofsd(apt: Apt, cache: Path, host: Path, folder: Path) -> Process:
    """Debian's, started by the loader that came with it."""
    tree = made_once(cache / "virtiofsd", lambda made: unpack(apt.fetch("virtiofsd", release=STABLE), made))
    libraries = tree / "usr/lib/x86_64-linux-gnu"
    loader = (str(libraries / "ld-linux-x86-64.so.2"), "--library-path", str(libraries))
    options = ["--socket-path", f"{VIRTIOFSD}.sock", "--shared-dir", str(host), "--tag", VIRTIOFSD, "--sandbox", "none"]
    return Process("virtiofsd", [*loader, str(tree / "usr/libexec/virtiofsd"), *options], folder)


def _round(guest: Guest, tag: str, measured: Measured) -> None:
    """Mount, read here and there, read again; mount anew, read from front to back."""
    path = f"/{tag}/file"
    for order, stride, count in (("random", RANDOM, VISITS), ("sequential", 1, PAGES)):
        guest.shell("echo 3 >/proc/sys/vm/drop_caches")
        guest.mount(tag, f"/{tag}", _OPTIONS[tag])
        before = _cached(guest)
        with guest.mapped(path, SIZE) as address:
            touch = partial(guest.touch, address, PAGES, stride, count)
            measured.add(f"{order}, cold", touch())
            measured.add(f"{order}, warm", touch())
        measured.add(f"{order}, MiB of guest RAM", (_cached(guest) - before) / 1024)
        guest.unmount(f"/{tag}")


def _cached(guest: Guest) -> int:
    """KiB of RAM that hold what the guest has read of files: what a second guest would take as well."""
    words = guest.shell("grep ^Cached: /proc/meminfo").split()
    return int(words[1])


def _print(measured: dict[str, Measured]) -> None:
    """A line a figure: the medians of ratios, and the least and the most."""
    for what, values in measured[DAX].values.items():
        if "MiB" in what:
            used = {tag: statistics.median(of.values[what]) for tag, of in measured.items()}
            print(f"{what}: " + ", ".join(f"{value:.1f} {tag}" for tag, value in used.items()))
            continue
        for other in (PLAIN, VIRTIOFSD):
            ratios = [a / b for a, b in zip(values, measured[other].values[what], strict=True)]
            low, high = min(ratios), max(ratios)
            print(f"{what}: DAX / {other} {statistics.median(ratios):.3f} ({low:.3f} to {high:.3f})")
