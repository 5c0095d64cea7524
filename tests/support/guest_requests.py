"""Requests as a Linux guest sends them, for the tests."""

import struct

from daxmap.fuse import (
    FUSE_HAS_INODE_DAX,
    FUSE_INIT,
    FUSE_INIT_EXT,
    FUSE_MAP_ALIGNMENT,
    FUSE_NO_FH,
    FUSE_REMOVEMAPPING,
    FUSE_SETUPMAPPING,
    InitIn,
    OutHeader,
    RemoveMapping,
    SetupMapping,
    request,
)

SLOT = 2 << 20
UNIQUE = 0xFEDC_BA98_7654_3210
READ, READ_WRITE = 2, 3
WHOLE_WINDOW = 2**64 - 1
DAX_FLAGS = FUSE_MAP_ALIGNMENT | FUSE_INIT_EXT | FUSE_HAS_INODE_DAX


def map_request(  # noqa: PLR0913
    nodeid: int, moffset: int, *, foffset: int = 0, length: int = SLOT, flags: int = READ, fh: int = FUSE_NO_FH
) -> bytes:
    body = SetupMapping(fh, foffset, length, flags, moffset).build()
    return request(FUSE_SETUPMAPPING, body, unique=UNIQUE, nodeid=nodeid)


def unmap_request(*entries: tuple[int, int]) -> bytes:
    return request(FUSE_REMOVEMAPPING, RemoveMapping(entries).build(), unique=UNIQUE)


def init_request(flags: int = DAX_FLAGS) -> bytes:
    return request(FUSE_INIT, InitIn(7, 41, 131072, flags).build(), unique=UNIQUE)


def answer(errno: int) -> bytes:
    """The reply that tells an errno, 0 for success."""
    return struct.pack("<IiQ", 16, -errno, UNIQUE)


def told(reply: bytes | None) -> int:
    """The errno that a well-formed reply tells."""
    assert reply is not None
    assert len(reply) == 16
    header = OutHeader.parse(reply)
    assert (header.length, header.unique) == (16, UNIQUE)
    return -header.error


class Opened:
    """A file that counts how often it was closed."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.closed = 0

    def fileno(self) -> int:
        return self.fd

    def close(self) -> None:
        self.closed += 1
