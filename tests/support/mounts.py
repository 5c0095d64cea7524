"""File systems that one process alone sees. For processes of a test's own: there is no way back."""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from support.host import LIBC
from support.programs import TIMEOUT

_CLONE_NEWNS = 0x0002_0000
_CLONE_NEWUSER = 0x1000_0000
_MNT_DETACH = 2
_MS_REC_PRIVATE = 0x4000 | 0x4_0000


def unshare_mounts() -> None:
    """From here on what is mounted is seen by this process alone. Who is not root gets a user namespace for that."""
    user, group = os.geteuid(), os.getegid()
    if user != 0:
        _check(LIBC.unshare(_CLONE_NEWUSER), "unshare(CLONE_NEWUSER)")
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    _check(LIBC.unshare(_CLONE_NEWNS), "unshare(CLONE_NEWNS)")
    _check(LIBC.mount(b"none", b"/", None, _MS_REC_PRIVATE, None), "mount(MS_PRIVATE)")


def mount(kind: str, directory: Path, options: str = "") -> None:
    """Mount a file system of a kind, after `unshare_mounts`."""
    _check(LIBC.mount(b"daxmap-test", bytes(directory), kind.encode(), 0, options.encode()), f"mount of {kind}")


def unmount(directory: Path) -> None:
    """Take it away, whatever still uses it."""
    _check(LIBC.umount2(bytes(directory), _MNT_DETACH), f"unmount of {directory}")


def mount_overlay(base: Path, files: Mapping[str, bytes]) -> Path:
    """Mount an overlayfs with these files in its lower layer. `base` is made, and has all its parts."""
    base.mkdir()
    mount("tmpfs", base)
    lower, upper, work, merged = (base / name for name in ("lower", "upper", "work", "merged"))
    for directory in (lower, upper, work, merged):
        directory.mkdir()
    for name, content in files.items():
        (lower / name).write_bytes(content)
    mount("overlay", merged, f"lowerdir={lower},upperdir={upper},workdir={work}")
    return merged


def _check(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def skip_without_mounts() -> None:
    """Skip the test where a process may have no mounts of its own."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("unshare(1) is not installed: nothing tells whether a test may mount a file system")
    command = [unshare, "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    if done.returncode != 0:
        pytest.skip(f"no file system can be mounted for a test: {done.stderr.strip()}")
