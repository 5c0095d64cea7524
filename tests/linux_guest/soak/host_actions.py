"""What the host does to files while the guest uses them."""

import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from linux_guest.rig import MIB
from linux_guest.soak.share import COMMON_FILES, CONTESTED_NAMES, Disk, write_new, write_stamped

MOST = 3 * MIB
"""Of a contested file."""


class Host:
    """The other user of the share."""

    def __init__(self, disk: Disk, dice: random.Random) -> None:
        self._disk, self._dice = disk, dice
        self.done: Counter[str] = Counter()
        self.refused: Counter[int] = Counter()

    def act(self) -> None:
        """One action. It is refused where a name is not there, or the disk is full."""
        action = self._dice.choice(_ACTIONS)
        try:
            action(self)
        except OSError as error:
            self.refused[error.errno or 0] += 1
        else:
            self.done[action.__name__.replace("_", " ")] += 1

    def _path(self) -> Path:
        return self._disk.share / f"contested/{self._dice.choice('ab')}/{self._dice.randrange(CONTESTED_NAMES):02}"

    def _offset(self) -> int:
        return self._dice.randrange(MOST // 8) * 8

    def _version(self) -> int:
        return self._dice.randrange(1 << 16)

    def _write(self, path: Path, offset: int) -> None:
        fd = os.open(path, os.O_RDWR)
        try:
            write_stamped(fd, offset, 8 * self._dice.randrange(1, 2048), self._version())
        finally:
            os.close(fd)

    def truncate(self) -> None:
        path = self._path()
        os.truncate(path, self._dice.randrange(path.stat().st_size // 8 + 1) * 8)

    def make_longer(self) -> None:
        path = self._path()
        os.truncate(path, max(path.stat().st_size, self._offset()))

    def write(self) -> None:
        self._write(self._path(), self._offset())

    def write_to_a_common_file(self) -> None:
        path = self._disk.share / f"common/{self._dice.randrange(COMMON_FILES):02}"
        self._write(path, self._dice.randrange(MIB // 8) * 8)

    def rename(self) -> None:
        self._path().rename(self._path())

    def replace(self) -> None:
        self._disk.aside.unlink(missing_ok=True)
        write_new(self._disk.aside, self._offset(), self._version())
        self._disk.aside.rename(self._path())

    def remove(self) -> None:
        self._path().unlink()

    def create(self) -> None:
        write_new(self._path(), self._offset(), self._version())

    def swap_folders(self) -> None:
        contested = self._disk.share / "contested"
        (contested / "a").rename(contested / "c")
        (contested / "b").rename(contested / "a")
        (contested / "c").rename(contested / "b")


_ACTIONS: list[Callable[[Host], None]] = [
    *[Host.truncate, Host.make_longer, Host.write, Host.rename, Host.replace] * 3,
    *[Host.write_to_a_common_file] * 3,
    *[Host.remove, Host.create] * 2,
    Host.swap_folders,
]
