"""One boot of the guest, from the servers' start to its power-off."""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from linux_guest import checks
from linux_guest.guest import PAGE, PROT_READ, PROT_WRITE, Guest
from linux_guest.initramfs import build_initramfs
from linux_guest.kernels import Kernel
from linux_guest.processes import Process, report_tail
from linux_guest.qemu import Qemu, machine
from linux_guest.report import Report
from linux_guest.rig import MIB, RANGE, Rig, Share, same
from linux_guest.server import Server, Status

BOOT_LIMIT = 90
OFF_LIMIT = 30
_CONSOLE = "console.log"
_INITRAMFS = "initramfs"


@dataclass(frozen=True)
class System:
    """What it takes to boot one kernel."""

    qemu: Qemu
    kernel: Kernel
    busybox: Path
    agent: Path


def run_checks(system: System, cache: Path, report: Report) -> None:
    """Boot, check, switch off, and see what the servers say of it."""
    with _folder(system, cache) as folder, ExitStack() as stack:
        always = _serve(stack, folder, "always", 16 * MIB, "dax")
        inode = _serve(stack, folder, "inode", 64 * MIB, "dax=inode")
        servers = [always.server, inode.server]

        def tails() -> str:
            console = (folder / _CONSOLE).read_text(errors="replace") if (folder / _CONSOLE).exists() else ""
            parts = [report_tail("console", console.splitlines()[-20:])]
            return "\n".join([*parts, *(server.process.tail() for server in servers), qemu.tail()])

        for server in servers:
            server.wait_until_ready()
        arguments = machine(system.kernel, _INITRAMFS, [server.socket for server in servers], "quiet")
        serial = ["-serial", f"file:{_CONSOLE}", "-chardev", "stdio,id=agent,signal=off", "-serial", "chardev:agent"]
        command = [*system.qemu.command, *arguments, *serial]
        qemu = stack.enter_context(Process("qemu", command, folder, system.qemu.environment))
        rig = Rig(Guest(qemu), always, inode)
        with report.group(f"Linux {system.kernel.version}", tails):
            report.run("boot", partial(_boot, rig), needed=True)
            for check in checks.ALL:
                report.run(check.__name__, partial(check, rig))
            report.run("power_off_with_live_mappings", partial(_power_off, rig, qemu), needed=True)
            report.run("dax_was_used", partial(_dax_was_used, always.server), of_all=True)
            report.run("dax_was_used_per_inode", partial(_dax_was_used, inode.server), of_all=True)


def run_shell(system: System, cache: Path, words: Sequence[str]) -> int:
    """Leave a person at a shell in the guest, in a share. The word is the mount's options, `dax` by default."""
    options = words[0] if words else "dax"
    with _folder(system, cache) as folder, ExitStack() as stack:
        share = _serve(stack, folder, "share", 128 * MIB, options)
        share.server.wait_until_ready()
        print(f"The share is {share.host} here. Keys for QEMU itself: Ctrl-a h.", flush=True)
        arguments = machine(system.kernel, _INITRAMFS, [share.server.socket], f"quiet shell={options}")
        command = [*system.qemu.command, *arguments, "-serial", "mon:stdio"]
        # Not in a process group of its own: it reads the terminal.
        return subprocess.run(command, cwd=folder, env=os.environ | system.qemu.environment, check=False).returncode


@contextmanager
def _folder(system: System, cache: Path) -> Iterator[Path]:
    """A folder for one boot: the initramfs, the shares, sockets and logs."""
    with tempfile.TemporaryDirectory(prefix="run.", dir=cache) as name:
        folder = Path(name)
        build_initramfs(folder / _INITRAMFS, system.kernel, system.busybox, system.agent)
        yield folder


def _serve(stack: ExitStack, folder: Path, tag: str, window: int, options: str) -> Share:
    """A new folder, served for a mount with these options."""
    dax = {"dax": "always", "dax=inode": "inode"}.get(options, "never")
    host = folder / tag
    host.mkdir()
    server = Server(tag, host, folder, ["--window", f"{window // MIB}MiB", "--dax", dax])
    stack.enter_context(server.process)
    return Share(host, f"/{tag}", options, window, server)


def _boot(rig: Rig) -> None:
    rig.guest.wait_until_ready(BOOT_LIMIT)
    for share in (rig.always, rig.inode):
        rig.guest.call("mkdir", share.mount_point, 0o755)
        rig.guest.mount(share.server.tag, share.mount_point, share.options)


def _power_off(rig: Rig, qemu: Process) -> None:
    content = rig.always.fill("live", 2 * RANGE)
    fd = rig.guest.open(rig.always.path("live"), os.O_RDWR)
    address = rig.guest.mmap(fd, len(content), PROT_READ | PROT_WRITE)
    rig.guest.load(address + RANGE, 1)
    rig.guest.store(address, b"stored!!")
    assert rig.always.count("live_mappings") >= 2, "nothing is mapped"
    rig.guest.call("fsync", fd)
    rig.guest.power_off()
    same(qemu.wait(OFF_LIMIT), 0, "QEMU's exit status")
    same((rig.always.host / "live").read_bytes()[:PAGE], b"stored!!" + content[8:PAGE], "the host's file")


def _dax_was_used(server: Server) -> None:
    """Or else all of the above passed by plain reads and writes, and nobody would notice."""
    status: Status = server.final_status()
    same(status.dax, "used", "what the server says of DAX")
    for name in ("setup_count", "upgrade_count", "remove_count"):
        assert status.count(name) > 0, f"{name} is 0"
    same(status.count("leaked_count"), 0, "leaked mappings")
