"""One boot of the guest, from the servers' start to its power-off."""

import os
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from emulation.processes import Process
from linux_guest import checks
from linux_guest.guest import PAGE, PROT_READ, PROT_WRITE, Guest
from linux_guest.initramfs import build_initramfs
from linux_guest.machine import machine
from linux_guest.report import Report
from linux_guest.rig import MIB, RANGE, Rig, Share, same
from linux_guest.server import Server
from linux_guest.system import System

BOOT_LIMIT = 90
OFF_LIMIT = 30
_INITRAMFS = "initramfs"
CONSOLE = ("-serial", "file:console.log")
AGENT = ("-chardev", "stdio,id=agent,signal=off", "-serial", "chardev:agent")


def run_checks(system: System, folder: Path, report: Report) -> None:
    """Boot, check, switch off, and see what the servers say of it. Logs, sockets and shares lie in a new folder."""
    folder.mkdir()
    with report.group(f"Linux {system.kernel.version}", folder), ExitStack() as stack:
        always = _serve(stack, folder, "always", 16 * MIB, "dax")
        inode = _serve(stack, folder, "inode", 64 * MIB, "dax=inode")
        command = _command(system, folder, [always, inode], "quiet")
        qemu = Process("qemu", [*command, *CONSOLE, *AGENT], folder, system.qemu.environment)
        stack.enter_context(qemu)
        rig = Rig(Guest(qemu), always, inode)
        report.run("boot", partial(_boot, rig), needed=True)
        for check in checks.ALL:
            report.run(check.__name__, partial(check, rig))
        report.run("power_off_with_live_mappings", partial(_power_off, rig, qemu), needed=True)
        for share in (always, inode):
            report.run(f"dax_was_used_by_share_{share.server.tag}", partial(_dax_was_used, share), of_all=True)


def run_shell(system: System, folder: Path, words: Sequence[str]) -> int:
    """Leave a person at a shell in the guest, in a share. The word is the mount's options, `dax` by default."""
    folder.mkdir()
    options = words[0] if words else "dax"
    with ExitStack() as stack:
        share = _serve(stack, folder, "share", 128 * MIB, options)
        print(f"The share is {share.host} here. Keys for QEMU itself: Ctrl-a h.", flush=True)
        command = [*_command(system, folder, [share], f"quiet shell={options}"), "-serial", "mon:stdio"]
        # Not in a process group of its own: it reads the terminal.
        return subprocess.run(command, cwd=folder, env=os.environ | system.qemu.environment, check=False).returncode


def _serve(stack: ExitStack, folder: Path, tag: str, window: int, options: str) -> Share:
    """A new directory, served for a mount with these options."""
    dax = {"dax": ["always"], "dax=inode": ["inode", "--min-size", "0KiB"]}.get(options, ["never"])
    host = folder / tag
    host.mkdir()
    server = Server(tag, host, folder, ["--window", f"{window // MIB}MiB", "--dax", *dax, "--once"])
    stack.enter_context(server.process)
    server.wait_until_ready()
    return Share(host, f"/{tag}", options, window, server)


def _command(system: System, folder: Path, shares: Sequence[Share], append: str) -> list[str]:
    build_initramfs(folder / _INITRAMFS, system.kernel, system.busybox, system.agent)
    sockets = [share.server.socket for share in shares]
    return [*system.qemu.command, *machine(system.kernel, _INITRAMFS, sockets, append)]


def _boot(rig: Rig) -> None:
    rig.guest.wait_until_ready(BOOT_LIMIT)
    for share in (rig.always, rig.inode):
        rig.guest.call("mkdir", share.mount_point, 0o755)
        rig.guest.mount(share.server.tag, share.mount_point, share.options)
    # A server that is not run by root can make files for one user only.
    rig.guest.log_in(os.geteuid(), os.getegid())


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


def _dax_was_used(share: Share) -> None:
    """Or else all of the above passed by plain reads and writes, and nobody would notice."""
    status = share.server.final_status()
    same(status.dax, "used", "what the server says of DAX")
    for name in ("setup_count", "upgrade_count", "remove_count"):
        assert status.count(name) > 0, f"{name} is 0"
    same(status.count("leaked_count"), 0, "leaked mappings")
