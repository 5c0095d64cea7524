"""What a VMM may have been robbed of by its sandbox. For processes of a test's own: only some of it comes back."""

import ctypes
import os
import platform
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from support.host import LIBC
from support.mounts import mount, unshare_mounts
from support.programs import TIMEOUT

# prctl(2), and include/uapi/linux/{seccomp,filter,capability}.h.
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 22, 38
_SECCOMP_MODE_FILTER = 2
_SECCOMP_RET_ALLOW, _SECCOMP_RET_ERRNO = 0x7FFF_0000, 0x0005_0000
_LOAD_WORD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_INSTRUCTION = struct.Struct("<HBBI")
_CAPABILITY_VERSION_3 = 0x2008_0522

COPIES = {"x86_64": (310, 311), "aarch64": (270, 271)}.get(platform.machine(), ())
"""Numbers of process_vm_readv and process_vm_writev."""
DAC = 1, 2
"""Capabilities that pass over the modes of files: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""
SYS_CHROOT, SYS_ADMIN, CHECKPOINT_RESTORE = 18, 21, 40
"""Capabilities: the last two let a process look through /proc/self/map_files."""


def _has(*capabilities: int) -> bool:
    lines = Path("/proc/self/status").read_text().splitlines()
    effective = next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))
    return all(effective >> number & 1 for number in capabilities)


needs_root = pytest.mark.skipif(not _has(SYS_CHROOT, SYS_ADMIN), reason="this process may not chroot(2) and mount(2)")
needs_disk = pytest.mark.skipif(
    shutil.which("mkfs.ext4") is None or not os.access("/dev/loop-control", os.W_OK),
    reason="no disk can be made for a test: mkfs.ext4, /dev/loop-control",
)
needs_seccomp = pytest.mark.skipif(not COPIES, reason="the numbers of the system calls are not known here")


@contextmanager
def without_proc() -> Iterator[None]:
    """A root directory in which there is nothing at all."""
    root = os.open("/", os.O_PATH | os.O_DIRECTORY)
    directory = Path.cwd()
    with TemporaryDirectory() as empty:
        os.chroot(empty)
        os.chdir("/")
        try:
            yield
        finally:
            os.fchdir(root)
            os.chroot(".")
            os.chdir(directory)
            os.close(root)


def forbid(calls: tuple[int, ...], error: int) -> None:
    """Have a seccomp filter answer these system calls with an errno, for good."""
    jumps = [_INSTRUCTION.pack(_JUMP_IF_EQUAL, len(calls) - index, 0, call) for index, call in enumerate(calls)]
    load = _INSTRUCTION.pack(_LOAD_WORD, 0, 0, 0)  # the number of the call
    returns = [_INSTRUCTION.pack(_RETURN, 0, 0, value) for value in (_SECCOMP_RET_ALLOW, _SECCOMP_RET_ERRNO | error)]
    program = ctypes.create_string_buffer(b"".join([load, *jumps, *returns]))
    length = len(calls) + 3
    header = ctypes.create_string_buffer(struct.pack("@HxxxxxxQ", length, ctypes.addressof(program)))
    assert LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert LIBC.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0) == 0


def drop_capabilities(*numbers: int) -> None:
    """As capset(2) has it, for good: two words each of effective, permitted and inheritable ones."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()
    assert LIBC.capget(header, sets) == 0
    for number in numbers:
        for index in range(3):
            sets[number // 32 * 3 + index] &= ~(1 << number % 32)
    assert LIBC.capset(header, sets) == 0


def mount_tmpfs(directory: Path, size: int) -> None:
    """Mount memory of `size` bytes, which this process alone sees."""
    unshare_mounts()
    mount("tmpfs", directory, f"size={size}")


def mount_ext4(directory: Path, image: Path, size: int) -> None:
    """Mount a disk of `size` bytes, which is a file, in `directory`."""
    with image.open("wb") as file:
        file.truncate(size)
    for command in (["mkfs.ext4", "-qFm0", str(image)], ["mount", "-o", "loop", str(image), str(directory)]):
        subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT)


def fill(directory: Path) -> None:
    """Leave no byte free on a disk."""
    with (directory / "ballast").open("wb", buffering=0) as ballast:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    ballast.write(bytes(size))
            except OSError:
                os.fsync(ballast.fileno())
