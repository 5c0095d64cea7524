"""A guest that has mounted what a file server serves: requests as Linux sends them, and what comes back.

Every reply is held to the rules of Linux 7.1 (`virtio_fs_verify_response`). The formats are those of
include/uapi/linux/fuse.h.
"""

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Self

import pytest

from daxmap.fuse import (
    FUSE_HAS_INODE_DAX,
    FUSE_INIT,
    FUSE_INIT_EXT,
    FUSE_MAP_ALIGNMENT,
    FUSE_NO_FH,
    FUSE_REMOVEMAPPING,
    FUSE_SETUPMAPPING,
    InHeader,
    InitIn,
    RemoveMapping,
    SetupMapping,
)

LOOKUP, FORGET, GETATTR, SETATTR, READLINK, SYMLINK, MKNOD, MKDIR, UNLINK, RMDIR = 1, 2, 3, 4, 5, 6, 8, 9, 10, 11
RENAME, LINK, OPEN, READ, WRITE, STATFS, RELEASE, FSYNC, SETXATTR, GETXATTR, LISTXATTR = (
    12,
    13,
    14,
    15,
    16,
    17,
    18,
    20,
    21,
    22,
    23,
)
REMOVEXATTR, FLUSH, OPENDIR, READDIR, RELEASEDIR, CREATE, DESTROY, FALLOCATE = 24, 25, 27, 28, 29, 35, 38, 43
READDIRPLUS, RENAME2, LSEEK = 44, 45, 46
ROOT = 1
SLOT = 2 << 20

FATTR_MODE, FATTR_UID, FATTR_GID, FATTR_SIZE, FATTR_ATIME, FATTR_MTIME, FATTR_FH = (1 << bit for bit in range(7))

_HEADER = struct.Struct("<IIQQIIIHH")
_OUT = struct.Struct("<IiQ")
_ENTRY = struct.Struct("<QQQQII")
_ATTR = struct.Struct("<6Q3I7I")
_IO = struct.Struct("<QQIIQII")
_DIRENT = struct.Struct("<QQII")
_SETATTR = struct.Struct("<IIQQQQQQIIIIIIII")

Answer = Callable[[bytes], bytes | None]


@dataclass(frozen=True)
class Attr:
    """`struct fuse_attr`."""

    ino: int
    size: int
    blocks: int
    atime: int
    mtime: int
    ctime: int
    atimensec: int
    mtimensec: int
    ctimensec: int
    mode: int
    nlink: int
    uid: int
    gid: int
    rdev: int
    blksize: int
    flags: int

    @classmethod
    def of(cls, data: bytes) -> Self:
        return cls(*_ATTR.unpack_from(data))


@dataclass(frozen=True)
class Entry:
    """`struct fuse_entry_out`."""

    nodeid: int
    entry_valid: int
    attr_valid: int
    attr: Attr

    @classmethod
    def of(cls, data: bytes) -> Self:
        nodeid, _generation, entry_valid, attr_valid, _, _ = _ENTRY.unpack_from(data)
        return cls(nodeid, entry_valid, attr_valid, Attr.of(data[_ENTRY.size :]))


@dataclass(frozen=True)
class Dirent:
    """`struct fuse_dirent`, and what READDIRPLUS puts before it."""

    name: bytes
    ino: int
    offset: int
    kind: int
    entry: Entry | None = None


class FuseGuest:
    """A guest of one share.

    Args:
        answer: `FileServer.answer`, or what stands for it.
        uid: The guest's user.
        gid: Its group.
    """

    def __init__(self, answer: Answer, *, uid: int = 0, gid: int = 0) -> None:
        self.answer = answer
        self.uid, self.gid = uid, gid
        self._unique = count(2, 2)

    def message(self, opcode: int, nodeid: int = 0, body: bytes = b"") -> bytes:
        length = _HEADER.size + len(body)
        return _HEADER.pack(length, opcode, next(self._unique), nodeid, self.uid, self.gid, 1, 0, 0) + body

    def ask(self, opcode: int, nodeid: int = 0, body: bytes = b"") -> bytes:
        """The body of the reply.

        Raises:
            OSError: The reply is an error.
        """
        message = self.message(opcode, nodeid, body)
        reply = self.answer(message)
        assert reply is not None
        length, error, unique = _OUT.unpack_from(reply)
        assert (length, unique) == (len(reply), InHeader.parse(message).unique)
        assert -512 < error <= 0
        if error:
            assert length == _OUT.size
            raise OSError(-error, os.strerror(-error))
        return reply[_OUT.size :]

    def mount(self, flags: int = FUSE_MAP_ALIGNMENT | FUSE_INIT_EXT | FUSE_HAS_INODE_DAX) -> bytes:
        return self.ask(FUSE_INIT, 0, InitIn(7, 41, 1 << 17, flags).build())

    def lookup(self, name: str, parent: int = ROOT) -> Entry:
        return Entry.of(self.ask(LOOKUP, parent, os.fsencode(name) + b"\0"))

    def forget(self, nodeid: int, times: int = 1) -> None:
        assert self.answer(self.message(FORGET, nodeid, struct.pack("<Q", times))) is None

    def getattr(self, nodeid: int, fh: int | None = None) -> Attr:
        body = struct.pack("<IIQ", 0 if fh is None else 1, 0, fh or 0)
        return Attr.of(self.ask(GETATTR, nodeid, body)[16:])

    def setattr(  # noqa: PLR0913  # what it may set
        self, nodeid: int, valid: int, *, fh: int = 0, size: int = 0, mode: int = 0, uid: int = 0, gid: int = 0
    ) -> Attr:
        body = _SETATTR.pack(valid, 0, fh, size, 0, 0, 0, 0, 0, 0, 0, mode, 0, uid, gid, 0)
        return Attr.of(self.ask(SETATTR, nodeid, body)[16:])

    def open(self, nodeid: int, flags: int = os.O_RDONLY) -> int:
        fh: int = struct.unpack_from("<Q", self.ask(OPEN, nodeid, struct.pack("<II", flags, 0)))[0]
        return fh

    def create(self, name: str, parent: int = ROOT, *, flags: int = os.O_RDWR, mode: int = 0o644) -> tuple[Entry, int]:
        body = struct.pack("<IIII", flags | os.O_CREAT, 0o100000 | mode, 0, 0) + os.fsencode(name) + b"\0"
        reply = self.ask(CREATE, parent, body)
        return Entry.of(reply), struct.unpack_from("<Q", reply, 128)[0]

    def release(self, nodeid: int, fh: int) -> None:
        assert self.ask(RELEASE, nodeid, struct.pack("<QIIQ", fh, 0, 0, 0)) == b""

    def read(self, nodeid: int, fh: int, offset: int, size: int) -> bytes:
        return self.ask(READ, nodeid, _IO.pack(fh, offset, size, 0, 0, 0, 0))

    def write(self, nodeid: int, fh: int, offset: int, data: bytes, flags: int = 0) -> int:
        body = _IO.pack(fh, offset, len(data), 0, 0, flags, 0) + data
        written: int = struct.unpack_from("<I", self.ask(WRITE, nodeid, body))[0]
        return written

    def make(self, opcode: int, name: str, parent: int, fixed: bytes) -> Entry:
        """MKDIR, MKNOD: what precedes the name."""
        return Entry.of(self.ask(opcode, parent, fixed + os.fsencode(name) + b"\0"))

    def mkdir(self, name: str, parent: int = ROOT, mode: int = 0o755) -> Entry:
        return self.make(MKDIR, name, parent, struct.pack("<II", mode, 0))

    def mknod(self, name: str, mode: int, parent: int = ROOT, rdev: int = 0) -> Entry:
        return self.make(MKNOD, name, parent, struct.pack("<IIII", mode, rdev, 0, 0))

    def symlink(self, target: str, name: str, parent: int = ROOT) -> Entry:
        return Entry.of(self.ask(SYMLINK, parent, os.fsencode(name) + b"\0" + os.fsencode(target) + b"\0"))

    def link(self, nodeid: int, name: str, parent: int = ROOT) -> Entry:
        return self.make(LINK, name, parent, struct.pack("<Q", nodeid))

    def unlink(self, name: str, parent: int = ROOT) -> None:
        self.ask(UNLINK, parent, os.fsencode(name) + b"\0")

    def rmdir(self, name: str, parent: int = ROOT) -> None:
        self.ask(RMDIR, parent, os.fsencode(name) + b"\0")

    def rename(self, old: str, new: str, *, parent: int = ROOT, to: int = ROOT, flags: int = 0) -> None:
        names = os.fsencode(old) + b"\0" + os.fsencode(new) + b"\0"
        self.ask(RENAME2, parent, struct.pack("<QII", to, flags, 0) + names)

    def listing(self, nodeid: int = ROOT, *, size: int = 4096, plus: bool = False) -> list[Dirent]:
        """The whole directory, in pieces of `size` bytes."""
        fh: int = struct.unpack_from("<Q", self.ask(OPENDIR, nodeid, bytes(8)))[0]
        found: list[Dirent] = []
        while piece := self._entries(nodeid, fh, found[-1].offset if found else 0, size, plus=plus):
            found += piece
        self.ask(RELEASEDIR, nodeid, struct.pack("<QIIQ", fh, 0, 0, 0))
        return found

    def _entries(self, nodeid: int, fh: int, offset: int, size: int, *, plus: bool) -> list[Dirent]:
        data = self.ask(READDIRPLUS if plus else READDIR, nodeid, _IO.pack(fh, offset, size, 0, 0, 0, 0))
        assert len(data) <= size
        found = []
        while data:
            entry = Entry.of(data) if plus else None
            head = 128 if plus else 0
            ino, next_offset, length, kind = _DIRENT.unpack_from(data, head)
            name = data[head + _DIRENT.size :][:length]
            found.append(Dirent(name, ino, next_offset, kind, entry))
            data = data[(head + _DIRENT.size + length + 7) // 8 * 8 :]
        return found

    def map(self, nodeid: int, moffset: int, *, foffset: int = 0, length: int = SLOT, writable: bool = False) -> None:
        body = SetupMapping(FUSE_NO_FH, foffset, length, 3 if writable else 2, moffset).build()
        self.ask(FUSE_SETUPMAPPING, nodeid, body)

    def unmap(self, *ranges: tuple[int, int]) -> None:
        self.ask(FUSE_REMOVEMAPPING, 0, RemoveMapping(ranges).build())


def error_of(call: Callable[..., object], *arguments: object, **keywords: object) -> int:
    """The errno that a guest's call ends with."""
    with pytest.raises(OSError, match=r"\[Errno \d+\]") as caught:
        call(*arguments, **keywords)
    assert caught.value.errno is not None
    return caught.value.errno
