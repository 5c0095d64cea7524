"""The FUSE messages that DAX concerns, as values.

For a VMM's own FUSE server, and for tests: what `DaxDispatcher` is given is decoded in Rust, not here. The formats are
those of the kernel's include/uapi/linux/fuse.h, little endian, as virtiofs has them (VIRTIO 1.2, section 5.11.6), from
FUSE 7.31 on. Names are those of that header, but for `length`, which is `len` there.

`parse` raises ValueError for bytes that are no such structure, `build` struct.error for a number that its field cannot
hold. The values are immutable: use them from any thread.
"""

import struct
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = [
    "FUSE_ATTR_DAX",
    "FUSE_DESTROY",
    "FUSE_HAS_INODE_DAX",
    "FUSE_INIT",
    "FUSE_INIT_EXT",
    "FUSE_KERNEL_VERSION",
    "FUSE_MAP_ALIGNMENT",
    "FUSE_NO_FH",
    "FUSE_REMOVEMAPPING",
    "FUSE_SETUPMAPPING",
    "FUSE_SETUPMAPPING_FLAG_READ",
    "FUSE_SETUPMAPPING_FLAG_WRITE",
    "InHeader",
    "InitIn",
    "InitOut",
    "OutHeader",
    "RemoveMapping",
    "SetupMapping",
    "reply",
    "request",
]

FUSE_KERNEL_VERSION = 7

FUSE_INIT = 26
FUSE_DESTROY = 38
FUSE_SETUPMAPPING = 48
FUSE_REMOVEMAPPING = 49

FUSE_NO_FH = 2**64 - 1
"""The file handle of a SETUPMAPPING that means "none: open the inode"; the only one that a Linux guest sends."""

FUSE_SETUPMAPPING_FLAG_WRITE = 1 << 0
FUSE_SETUPMAPPING_FLAG_READ = 1 << 1

FUSE_MAP_ALIGNMENT = 1 << 26
"""In INIT: the guest has a DAX window, and the device's reply says to which power of two mappings are aligned."""
FUSE_INIT_EXT = 1 << 30
"""In INIT: `flags2` holds flags 32 to 63."""
FUSE_HAS_INODE_DAX = 1 << 33
"""In INIT: the guest maps those files whose attributes have FUSE_ATTR_DAX."""
FUSE_ATTR_DAX = 1 << 1
"""In `fuse_attr.flags`: this file should be mapped."""


class _Fixed:
    """A structure of one size: a dataclass with the fields of `_FORMAT`."""

    __slots__ = ()
    _FORMAT: ClassVar[struct.Struct]
    SIZE: ClassVar[int]

    @classmethod
    def parse(cls, data: "ReadableBuffer") -> Self:
        """Read the structure at the start of `data`; what follows is not looked at.

        Raises:
            ValueError: `data` is too short.
        """
        try:
            return cls(*cls._FORMAT.unpack_from(data))
        except struct.error:
            size = memoryview(data).nbytes
            raise ValueError(f"{cls.__name__}: {size} bytes, not {cls.SIZE}") from None

    def build(self) -> bytes:
        """The structure's bytes."""
        return self._FORMAT.pack(*astuple(self))  # type: ignore[call-overload]  # each subclass is a dataclass


@dataclass(frozen=True, slots=True)
class InHeader(_Fixed):
    """`struct fuse_in_header`, 40 bytes: the start of each request. `length` counts the whole request."""

    length: int
    opcode: int
    unique: int
    nodeid: int
    uid: int = 0
    gid: int = 0
    pid: int = 0
    total_extlen: int = 0

    _FORMAT = struct.Struct("<IIQQIIIHxx")
    SIZE = _FORMAT.size


@dataclass(frozen=True, slots=True)
class OutHeader(_Fixed):
    """`struct fuse_out_header`, 16 bytes: the start of each reply. `error` is 0 or a negative Linux errno."""

    length: int
    error: int
    unique: int

    _FORMAT = struct.Struct("<IiQ")
    SIZE = _FORMAT.size


@dataclass(frozen=True, slots=True)
class SetupMapping(_Fixed):
    """`struct fuse_setupmapping_in`, 40 bytes: the body of a SETUPMAPPING. Offsets and length are in bytes."""

    fh: int
    foffset: int
    length: int
    flags: int
    moffset: int

    _FORMAT = struct.Struct("<5Q")
    SIZE = _FORMAT.size


@dataclass(frozen=True, slots=True)
class RemoveMapping:
    """The body of a REMOVEMAPPING: `struct fuse_removemapping_in` and its entries (moffset, length), in bytes."""

    entries: tuple[tuple[int, int], ...]

    @classmethod
    def parse(cls, data: "ReadableBuffer") -> Self:
        """Read a whole body.

        Raises:
            ValueError: It has not as many entries as it says.
        """
        body = bytes(data)
        count, entries = int.from_bytes(body[:4], "little"), body[4:]
        if len(body) < 4 or len(entries) != 16 * count:  # noqa: PLR2004
            raise ValueError(f"RemoveMapping: {len(body)} bytes, which says {count} entries")
        return cls(tuple(struct.iter_unpack("<QQ", entries)))

    def build(self) -> bytes:
        """The body's bytes."""
        return struct.pack("<I", len(self.entries)) + b"".join(struct.pack("<QQ", *entry) for entry in self.entries)


@dataclass(frozen=True, slots=True)
class InitIn:
    """`struct fuse_init_in`: the body of an INIT request. `flags` has all 64 bits: `flags2` is its upper half.

    Guests before FUSE 7.36, and those that need no upper half, send 16 bytes; others set FUSE_INIT_EXT and send 64.
    """

    major: int
    minor: int
    max_readahead: int
    flags: int

    @classmethod
    def parse(cls, data: "ReadableBuffer") -> Self:
        """Read a body of any age.

        Raises:
            ValueError: It is shorter than 16 bytes.
        """
        body = bytes(data)
        if len(body) < 16:  # noqa: PLR2004
            raise ValueError(f"InitIn: {len(body)} bytes, not 16 or more")
        major, minor, max_readahead, flags, flags2 = struct.unpack("<5I", body[:20].ljust(20, b"\0"))
        return cls(major, minor, max_readahead, flags | (flags2 << 32 if flags & FUSE_INIT_EXT else 0))

    def build(self) -> bytes:
        """The body's bytes: 64 with FUSE_INIT_EXT, else 16."""
        low, high = self.flags & 0xFFFF_FFFF, self.flags >> 32
        body = struct.pack("<4I", self.major, self.minor, self.max_readahead, low)
        return body + struct.pack("<I44x", high) if low & FUSE_INIT_EXT else body


@dataclass(frozen=True, slots=True)
class InitOut(_Fixed):
    """`struct fuse_init_out`, 64 bytes since FUSE 7.23: the body of the reply to INIT.

    `map_alignment` is the logarithm to base 2 of bytes; `flags2` are flags 32 to 63, and count only with FUSE_INIT_EXT;
    `unused` is what later versions of FUSE added.
    """

    major: int
    minor: int
    max_readahead: int = 0
    flags: int = 0
    max_background: int = 0
    congestion_threshold: int = 0
    max_write: int = 0
    time_gran: int = 0
    max_pages: int = 0
    map_alignment: int = 0
    flags2: int = 0
    unused: bytes = bytes(28)

    _FORMAT = struct.Struct("<IIIIHHIIHHI28s")
    SIZE = _FORMAT.size


def request(opcode: int, body: bytes = b"", *, unique: int, nodeid: int = 0) -> bytes:
    """A whole request: the header, then `body`."""
    return InHeader(InHeader.SIZE + len(body), opcode, unique, nodeid).build() + body


def reply(unique: int, body: bytes = b"", *, error: int = 0) -> bytes:
    """A whole reply: the header, then `body`. `error` is 0 or a negative Linux errno."""
    return OutHeader(OutHeader.SIZE + len(body), error, unique).build() + body
