"""The shares of one directory that are measured, each with a server of its own."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from debian_packages.apt import STABLE, Apt, unpack
from debian_packages.cache import made_once
from emulation.processes import Process
from linux_guest.guest import Guest
from linux_guest.initramfs import build_initramfs
from linux_guest.machine import machine
from linux_guest.rig import MIB
from linux_guest.run import AGENT, BOOT_LIMIT, CONSOLE
from linux_guest.server import Server
from linux_guest.system import System


@dataclass(frozen=True)
class Mount:
    """One way to have the directory in the guest."""

    tag: str
    name: str
    """In the report."""
    options: str = ""
    """Of mount(8)."""
    arguments: Sequence[str] = ()
    """Of `daxmap serve`."""

    @property
    def path(self) -> str:
        """Where the guest has it."""
        return f"/{self.tag}"


WINDOW = 128 * MIB
SMALL_WINDOW = 16 * MIB
DAX = Mount("dax", "DAX", "dax=always", ("--window", f"{WINDOW // MIB}MiB"))
SMALL = Mount("small", "DAX, small window", "dax=always", ("--window", f"{SMALL_WINDOW // MIB}MiB"))
MARKED = Mount("marked", "DAX of marked files", "dax=inode", ("--window", f"{WINDOW // MIB}MiB", "--dax", "inode"))
PLAIN = Mount("plain", "the same server without DAX", "", ("--dax", "never"))
VIRTIOFSD = Mount("virtiofsd", "virtiofsd")
ALL = (DAX, SMALL, MARKED, PLAIN, VIRTIOFSD)


@dataclass(frozen=True)
class Machine:
    """A guest that has been booted."""

    guest: Guest

    def mount_cold(self, mount: Mount) -> None:
        """Mount it with nothing of it in the guest's caches."""
        self.guest.shell("echo 3 >/proc/sys/vm/drop_caches")
        self.guest.mount(mount.tag, mount.path, mount.options)

    @contextmanager
    def mounted(self, mount: Mount) -> Iterator[None]:
        """The same, for a while."""
        self.mount_cold(mount)
        yield
        self.guest.unmount(mount.path)


@contextmanager
def booted(system: System, apt: Apt, cache: Path, folder: Path, host: Path) -> Iterator[Machine]:
    """A guest, in a new folder, with the directory behind five devices."""
    folder.mkdir()
    with ExitStack() as stack:
        for mount in ALL:
            if mount is not VIRTIOFSD:
                server = Server(mount.tag, host, folder, [*mount.arguments, "--once"])
                stack.enter_context(server.process)
                server.wait_until_ready()
        stack.enter_context(_virtiofsd(apt, cache, host, folder))
        build_initramfs(folder / "initramfs", system.kernel, system.busybox, system.agent)
        sockets = [f"{mount.tag}.sock" for mount in ALL]
        command = [*system.qemu.command, *machine(system.kernel, "initramfs", sockets, "quiet"), *CONSOLE, *AGENT]
        qemu = stack.enter_context(Process("qemu", command, folder, system.qemu.environment))
        guest = Guest(qemu)
        guest.wait_until_ready(BOOT_LIMIT)
        for mount in ALL:
            guest.call("mkdir", mount.path, 0o755)
        yield Machine(guest)
        guest.power_off()
        qemu.wait(BOOT_LIMIT)


def _virtiofsd(apt: Apt, cache: Path, host: Path, folder: Path) -> Process:
    """Debian's, with its cache as it comes, started by the loader that came with it."""
    tree = made_once(cache / "virtiofsd", lambda made: unpack(apt.fetch("virtiofsd", release=STABLE), made))
    libraries = tree / "usr/lib/x86_64-linux-gnu"
    loader = (str(libraries / "ld-linux-x86-64.so.2"), "--library-path", str(libraries))
    socket, tag = f"{VIRTIOFSD.tag}.sock", VIRTIOFSD.tag
    options = ["--socket-path", socket, "--shared-dir", str(host), "--tag", tag, "--sandbox", "none"]
    return Process("virtiofsd", [*loader, str(tree / "usr/libexec/virtiofsd"), *options], folder)
