"""A guest's side of FUSE: requests built, replies held to the rules and parsed, as include/uapi/linux/fuse.h has them.

Nothing is kept back that a Linux guest would not send.
"""

import errno
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import count
from typing import Protocol

from daxmap.fuse import FUSE_NO_FH, InHeader, InitIn, OutHeader, RemoveMapping, SetupMapping

ROOT = 1
SLOT = 2 << 20


class Op(IntEnum):
    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    SETXATTR = 21
    GETXATTR = 22
    LISTXATTR = 23
    REMOVEXATTR = 24
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    GETLK = 31
    SETLK = 32
    SETLKW = 33
    ACCESS = 34
    CREATE = 35
    INTERRUPT = 36
    BMAP = 37
    DESTROY = 38
    IOCTL = 39
    POLL = 40
    NOTIFY_REPLY = 41
    BATCH_FORGET = 42
    FALLOCATE = 43
    READDIRPLUS = 44
    RENAME2 = 45
    LSEEK = 46
    COPY_FILE_RANGE = 47
    SETUPMAPPING = 48
    REMOVEMAPPING = 49
    SYNCFS = 50
    TMPFILE = 51
    STATX = 52


SILENT = {Op.FORGET, Op.BATCH_FORGET, Op.INTERRUPT, Op.NOTIFY_REPLY}
"""Requests that have no reply."""

FATTR = {"mode": 1, "uid": 2, "gid": 4, "size": 8, "atime": 16, "mtime": 32, "fh": 64}
"""Bits of `fuse_setattr_in.valid`."""


class Server(Protocol):
    def answer(self, request: bytes, /) -> bytes | None: ...


@dataclass(frozen=True)
class Attr:
    """`struct fuse_attr`, 88 bytes."""

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

    FORMAT = struct.Struct("<6Q10I")

    @classmethod
    def parse(cls, data: bytes) -> "Attr":
        return cls(*cls.FORMAT.unpack(data))


@dataclass(frozen=True)
class Entry:
    """`struct fuse_entry_out`, 128 bytes."""

    nodeid: int
    generation: int
    entry_valid: tuple[int, int]
    attr_valid: tuple[int, int]
    attr: Attr

    FORMAT = struct.Struct("<4Q2I")
    SIZE = 128

    @classmethod
    def parse(cls, data: bytes) -> "Entry":
        assert len(data) == cls.SIZE
        nodeid, generation, entry, attr, entry_nsec, attr_nsec = cls.FORMAT.unpack_from(data)
        return cls(nodeid, generation, (entry, entry_nsec), (attr, attr_nsec), Attr.parse(data[40:]))


@dataclass(frozen=True)
class Dirent:
    """`struct fuse_dirent`; with READDIRPLUS, of a `struct fuse_direntplus`."""

    ino: int
    offset: int
    kind: int
    name: bytes
    entry: Entry | None = None

    FORMAT = struct.Struct("<QQII")


def dirents(data: bytes, *, plus: bool = False) -> Iterator[Dirent]:
    """Parses the body of a reply; every byte of it must belong to an entry, and all padding be 0."""
    at = 0
    while at < len(data):
        entry = Entry.parse(data[at : at + Entry.SIZE]) if plus else None
        at += Entry.SIZE if plus else 0
        ino, offset, length, kind = Dirent.FORMAT.unpack_from(data, at)
        end = at + Dirent.FORMAT.size + length
        padded = end + -end % 8
        assert len(data) >= padded
        assert not any(data[end:padded])
        yield Dirent(ino, offset, kind, data[at + Dirent.FORMAT.size : end], entry)
        at = padded


def checked(request: bytes, reply: bytes | None) -> bytes | None:
    """The reply, held to what Linux 7.1 and later wants: `virtio_fs_verify_response`. None where there is none."""
    if reply is None:
        return None
    sent, header = InHeader.parse(request), OutHeader.parse(reply)
    assert header.length == len(reply)
    assert header.unique == sent.unique
    assert -512 < header.error <= 0
    assert header.error == 0 or len(reply) == OutHeader.SIZE
    assert sent.opcode not in SILENT
    return reply


class Client:
    """Asks a server, and raises OSError for the errors that it answers. From any thread."""

    def __init__(self, server: Server, uid: int = 0, gid: int = 0) -> None:
        self.server = server
        self.uid, self.gid = uid, gid
        self._sent = count(1)

    def request(self, opcode: int, nodeid: int = 0, body: bytes = b"") -> bytes:
        unique = next(self._sent) * 2
        return InHeader(InHeader.SIZE + len(body), opcode, unique, nodeid, self.uid, self.gid, 1).build() + body

    def send(self, request: bytes) -> bytes | None:
        return checked(request, self.server.answer(request))

    def ask(self, opcode: int, nodeid: int = 0, body: bytes = b"") -> bytes:
        """The body of the reply."""
        reply = self.send(self.request(opcode, nodeid, body))
        assert reply is not None
        if error := -OutHeader.parse(reply).error:
            raise OSError(error, f"{opcode!r} of {nodeid}: {os.strerror(error)}")
        return reply[OutHeader.SIZE :]

    def tell(self, opcode: int, nodeid: int = 0, body: bytes = b"") -> None:
        """Send what has no reply."""
        assert self.send(self.request(opcode, nodeid, body)) is None

    def init(self, flags: int = 2**64 - 1) -> bytes:
        return self.ask(Op.INIT, 0, InitIn(7, 41, 1 << 17, flags).build())

    def lookup(self, name: bytes, parent: int = ROOT) -> Entry:
        return Entry.parse(self.ask(Op.LOOKUP, parent, name + b"\0"))

    def walk(self, *names: bytes) -> int:
        """The nodeid at the end of a path, each part looked up."""
        node = ROOT
        for name in names:
            node = self.lookup(name, node).nodeid
        return node

    def forget(self, nodeid: int, times: int = 1) -> None:
        self.tell(Op.FORGET, nodeid, struct.pack("<Q", times))

    def getattr(self, nodeid: int, fh: int | None = None) -> Attr:
        body = self.ask(Op.GETATTR, nodeid, struct.pack("<IIQ", fh is not None, 0, fh or 0))
        assert len(body) == 104
        return Attr.parse(body[16:])

    def setattr(self, nodeid: int, **values: int) -> Attr:
        valid = sum(FATTR[name] for name in values)
        of = values.get
        body = struct.pack("<IIQQQQQQ", valid, 0, of("fh", 0), of("size", 0), 0, of("atime", 0), of("mtime", 0), 0)
        body += struct.pack("<8I", 0, 0, 0, of("mode", 0), 0, of("uid", 0), of("gid", 0), 0)
        return Attr.parse(self.ask(Op.SETATTR, nodeid, body)[16:])

    def readlink(self, nodeid: int) -> bytes:
        return self.ask(Op.READLINK, nodeid)

    def symlink(self, name: bytes, target: bytes, parent: int = ROOT) -> Entry:
        return Entry.parse(self.ask(Op.SYMLINK, parent, name + b"\0" + target + b"\0"))

    def mknod(self, name: bytes, mode: int, rdev: int = 0, parent: int = ROOT) -> Entry:
        return Entry.parse(self.ask(Op.MKNOD, parent, struct.pack("<4I", mode, rdev, 0, 0) + name + b"\0"))

    def mkdir(self, name: bytes, mode: int = 0o755, parent: int = ROOT) -> Entry:
        return Entry.parse(self.ask(Op.MKDIR, parent, struct.pack("<II", mode, 0) + name + b"\0"))

    def unlink(self, name: bytes, parent: int = ROOT) -> None:
        self.ask(Op.UNLINK, parent, name + b"\0")

    def rmdir(self, name: bytes, parent: int = ROOT) -> None:
        self.ask(Op.RMDIR, parent, name + b"\0")

    def rename(self, old: bytes, new: bytes, parent: int = ROOT, to: int = ROOT, flags: int = 0) -> None:
        self.ask(Op.RENAME2, parent, struct.pack("<QII", to, flags, 0) + old + b"\0" + new + b"\0")

    def link(self, nodeid: int, name: bytes, parent: int = ROOT) -> Entry:
        return Entry.parse(self.ask(Op.LINK, parent, struct.pack("<Q", nodeid) + name + b"\0"))

    def create(self, name: bytes, mode: int = 0o644, flags: int = os.O_RDWR, parent: int = ROOT) -> tuple[Entry, int]:
        """What was made, and its handle."""
        body = struct.pack("<4I", flags | os.O_CREAT, 0o100000 | mode, 0, 0) + name + b"\0"
        made = self.ask(Op.CREATE, parent, body)
        assert len(made) == Entry.SIZE + 16
        return Entry.parse(made[: Entry.SIZE]), int.from_bytes(made[128:136], "little")

    def open(self, nodeid: int, flags: int = os.O_RDONLY) -> int:
        return self._opened(Op.OPEN, nodeid, flags)

    def opendir(self, nodeid: int = ROOT) -> int:
        return self._opened(Op.OPENDIR, nodeid, os.O_DIRECTORY)

    def _opened(self, opcode: int, nodeid: int, flags: int) -> int:
        opened = self.ask(opcode, nodeid, struct.pack("<II", flags, 0))
        assert len(opened) == 16
        return int.from_bytes(opened[:8], "little")

    def release(self, nodeid: int, fh: int, opcode: int = Op.RELEASE) -> None:
        self.ask(opcode, nodeid, struct.pack("<QIIQ", fh, 0, 0, 0))

    def read(self, nodeid: int, fh: int, size: int, offset: int = 0) -> bytes:
        return self.ask(Op.READ, nodeid, struct.pack("<QQIIQII", fh, offset, size, 0, 0, 0, 0))

    def write(self, nodeid: int, fh: int, data: bytes, offset: int = 0, flags: int = 0) -> int:
        body = struct.pack("<QQIIQII", fh, offset, len(data), 0, 0, flags, 0) + data
        return int.from_bytes(self.ask(Op.WRITE, nodeid, body)[:4], "little")

    def readdir(self, nodeid: int, fh: int, size: int = 65536, offset: int = 0, *, plus: bool = False) -> list[Dirent]:
        body = struct.pack("<QQIIQII", fh, offset, size, 0, 0, 0, 0)
        return list(dirents(self.ask(Op.READDIRPLUS if plus else Op.READDIR, nodeid, body), plus=plus))

    def map(self, nodeid: int, moffset: int, *, foffset: int = 0, length: int = SLOT, writable: bool = False) -> None:
        body = SetupMapping(FUSE_NO_FH, foffset, length, 3 if writable else 2, moffset).build()
        self.ask(Op.SETUPMAPPING, nodeid, body)

    def unmap(self, *ranges: tuple[int, int]) -> None:
        self.ask(Op.REMOVEMAPPING, 0, RemoveMapping(ranges).build())

    def setxattr(self, nodeid: int, name: bytes, value: bytes, flags: int = 0) -> None:
        self.ask(Op.SETXATTR, nodeid, struct.pack("<II", len(value), flags) + name + b"\0" + value)

    def getxattr(self, nodeid: int, name: bytes, size: int = 65536) -> bytes:
        return self.ask(Op.GETXATTR, nodeid, struct.pack("<II", size, 0) + name + b"\0")

    def listxattr(self, nodeid: int, size: int = 65536) -> bytes:
        return self.ask(Op.LISTXATTR, nodeid, struct.pack("<II", size, 0))

    def fallocate(self, nodeid: int, fh: int, offset: int, length: int, mode: int = 0) -> None:
        self.ask(Op.FALLOCATE, nodeid, struct.pack("<QQQII", fh, offset, length, mode, 0))

    def lseek(self, nodeid: int, fh: int, offset: int, whence: int) -> int:
        return int.from_bytes(self.ask(Op.LSEEK, nodeid, struct.pack("<QQII", fh, offset, whence, 0)), "little")


def errno_of(call: object, *arguments: object, **named: object) -> str:
    """The name of the errno that a call raises; "" for none: a message that can be read."""
    assert callable(call)
    try:
        call(*arguments, **named)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return ""
