"""The guest's whole system: busybox, an init script, the agent and the drivers, in a cpio archive."""

import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from debian_packages.apt import Apt, unpack
from debian_packages.cache import made_once
from debian_packages.skipping import SkippedError, need_program
from emulation.kernels import Kernel

HERE = Path(__file__).parent


def get_busybox(apt: Apt, cache: Path) -> Path:
    """A static busybox, fetched at the first call."""
    folder = made_once(cache / "busybox", lambda folder: unpack(apt.fetch_alone("busybox-static"), folder))
    return folder / "usr/bin/busybox"


def build_agent(folder: Path) -> Path:
    """The program that acts for the checks in the guest."""
    compiler = need_program("cc", "which compiles the guest's program", "gcc libc6-dev")
    program = folder / "agent"
    flags = ("-Wall", "-Wextra", "-Werror", "-static", "-O2")
    command = [compiler, *flags, "-o", str(program), str(HERE / "agent.c")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    if "cannot find -lc" in done.stderr:
        raise SkippedError("no static C library for the guest's program (apt install libc6-dev)")
    if done.returncode != 0:
        raise RuntimeError(f"agent.c does not compile:\n{done.stderr}")
    return program


def build_initramfs(target: Path, kernel: Kernel, busybox: Path, agent: Path) -> None:
    """Write the archive that the kernel unpacks as its root."""
    programs = {"init": HERE / "init.sh", "agent": agent, "bin/busybox": busybox}
    entries = [_Entry(name, stat.S_IFDIR | 0o755) for name in ("bin", "modules")]
    entries += [_Entry(name, stat.S_IFREG | 0o755, path.read_bytes()) for name, path in programs.items()]
    entries += [_Entry(f"modules/{ko.name}", stat.S_IFREG | 0o644, ko.read_bytes()) for ko in kernel.modules]
    entries.append(_Entry("TRAILER!!!", 0))
    target.write_bytes(b"".join(entry.to_bytes(inode) for inode, entry in enumerate(entries)))


@dataclass(frozen=True)
class _Entry:
    """A file in cpio's format "newc": Documentation/driver-api/early-userspace/buffer-format.rst of Linux."""

    name: str
    mode: int
    content: bytes = b""

    def to_bytes(self, inode: int) -> bytes:
        name = self.name.encode() + b"\0"
        # ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
        fields = (inode, self.mode, 0, 0, 1, 0, len(self.content), 0, 0, 0, 0, len(name), 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields) + name
        return _padded(header) + _padded(self.content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
