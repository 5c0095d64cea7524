"""Archives that Linux unpacks as its first root: cpio in the format "newc".

The format is in Linux, Documentation/driver-api/early-userspace/buffer-format.rst. A file may have several archives:
they are unpacked in their order.
"""

import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


@dataclass(frozen=True)
class Entry:
    """A file of an archive, owned by root."""

    name: str
    mode: int
    content: bytes = b""
    """Of a link, where it leads."""
    device: tuple[int, int] = (0, 0)
    """Its major and minor number, if it is one."""

    def to_bytes(self, inode: int) -> bytes:
        """The file as it stands in the archive."""
        name = self.name.encode() + b"\0"
        # ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
        fields = (inode, self.mode, 0, 0, 1, 0, len(self.content), 0, 0, *self.device, len(name), 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields) + name
        return _padded(header) + _padded(self.content)


def folder_entry(name: str) -> Entry:
    """An empty folder."""
    return Entry(name, stat.S_IFDIR | 0o755)


def program_entry(name: str, path: Path) -> Entry:
    """A file that can be run."""
    return Entry(name, stat.S_IFREG | 0o755, path.read_bytes())


def tree_entries(root: Path, below: str = "") -> Iterator[Entry]:
    """All that lies in a folder, each folder before what it holds."""
    for path in sorted(root.rglob("*")):
        name = f"{below}{path.relative_to(root)}"
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            yield Entry(name, mode, bytes(path.readlink()))
        elif stat.S_ISDIR(mode):
            yield folder_entry(name)
        else:
            yield Entry(name, mode, path.read_bytes())


def write_archive(target: BinaryIO, entries: Iterable[Entry]) -> None:
    """Append an archive to a file."""
    # Equal inode numbers would be taken for hard links.
    inode = 0
    for inode, entry in enumerate(entries, 1):
        target.write(entry.to_bytes(inode))
    target.write(Entry("TRAILER!!!", 0).to_bytes(inode + 1))


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
