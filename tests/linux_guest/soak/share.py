"""The share: a small disk of its own, and the files in it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ENOSPC
from pathlib import Path

from debian_packages.skipping import SkippedError
from linux_guest.rig import MIB
from linux_guest.soak.stamps import BLOCK, stamped
from support.mounts import mount, unmount, unshare_mounts

SIZE = 384 * MIB
"""Of the disk: more than the files can take, those that are removed and still open too."""
STILL_FILES, COMMON_FILES, CONTESTED_NAMES = 16, 4, 12
"""worker/ has the same numbers."""
WORKERS = 6


class Disk:
    """A file system that can be full. The share is a folder of it, beside the file that takes the space."""

    def __init__(self, root: Path) -> None:
        self.share = root / "share"
        self.aside = root / "aside"
        self._filler = root / "filler"

    @property
    def is_full(self) -> bool:
        return self._filler.exists()

    def be_full(self, *, is_full: bool) -> None:
        """Take all space that is free now, or give back what was taken."""
        if not is_full:
            self._filler.unlink(missing_ok=True)
            return
        with self._filler.open("ab") as filler:
            while free := os.statvfs(self.share).f_bavail * BLOCK:
                with suppress(OSError):  # others take space as well
                    os.posix_fallocate(filler.fileno(), filler.tell(), max(free // 2, BLOCK))
                filler.seek(0, os.SEEK_END)


@contextmanager
def mounted_disk(root: Path) -> Iterator[Disk]:
    """An empty disk, which this process and its children alone see. From then on all mounts are theirs alone."""
    try:
        unshare_mounts()
        root.mkdir()
        mount("tmpfs", root, f"size={SIZE}")
    except OSError as error:
        raise SkippedError(
            f"no file system can be mounted ({error}): run it as root, or allow user namespaces"
        ) from None
    try:
        yield Disk(root)
    finally:
        unmount(root)


def make_files(share: Path) -> None:
    """What is there at the start."""
    for folder in ("still", "common", "contested/a", "contested/b", *(f"own/{number}" for number in range(WORKERS))):
        (share / folder).mkdir(parents=True)
    for number in range(STILL_FILES):
        write_new(share / f"still/{number:02}", 2 * MIB + number * (BLOCK * 16 + 808), 0)
    for number in range(COMMON_FILES):
        write_new(share / f"common/{number:02}", 2 * MIB + number * (BLOCK * 64 + 808), 1)


def write_new(path: Path, length: int, version: int) -> None:
    """A new file that is stamped."""
    with path.open("xb", buffering=0) as file:
        write_stamped(file.fileno(), 0, length, version)


def write_stamped(fd: int, offset: int, length: int, version: int) -> None:
    """Write into a file what belongs there; ENOSPC if not all of it could be written."""
    content = stamped(os.fstat(fd).st_ino, offset, length, version)
    if os.pwrite(fd, content, offset) != length:
        raise OSError(ENOSPC, os.strerror(ENOSPC))
