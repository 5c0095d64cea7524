"""What a Linux 6.12 guest does on a virtiofs share mounted with `-o dax=inode`, request by request.

Written down from what such guests were seen to send, not captured: inode and handle numbers are those that the server
in virtiofs_dispatcher.py gives out, and the window has four slots of 2 MiB. Loads and stores are the guest CPU's own:
no request tells of them.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from daxmap.fuse import (
    FUSE_DESTROY,
    FUSE_HAS_INODE_DAX,
    FUSE_INIT,
    FUSE_INIT_EXT,
    FUSE_MAP_ALIGNMENT,
    FUSE_NO_FH,
    FUSE_REMOVEMAPPING,
    FUSE_SETUPMAPPING,
    FUSE_SETUPMAPPING_FLAG_READ,
    FUSE_SETUPMAPPING_FLAG_WRITE,
    InitIn,
    RemoveMapping,
    SetupMapping,
    request,
)

FUSE_LOOKUP, FUSE_FORGET, FUSE_GETATTR, FUSE_OPEN, FUSE_READ, FUSE_WRITE = 1, 2, 3, 14, 15, 16
FUSE_RELEASE, FUSE_GETXATTR, FUSE_FLUSH = 18, 22, 25

SLOT = 2 << 20
WINDOW = 4 * SLOT

SIZES = {"data.bin": SLOT // 2, "large.bin": 5 * SLOT, "small.txt": 100}
"""The files of the share, in bytes. `small.txt` is never mapped."""

ROOT, DATA, LARGE, SMALL = 1, 2, 3, 4
GROWN = b"these bytes are new"


@dataclass(frozen=True)
class Request:
    """A request, and what the guest expects: an errno, 0 for success; None: no reply at all."""

    text: str
    message: bytes
    errno: int | None = 0


@dataclass(frozen=True)
class Load:
    """The guest reads `length` bytes at an offset of the window, and finds those of the file there."""

    offset: int
    length: int
    name: str
    file_offset: int


@dataclass(frozen=True)
class Store:
    """The guest writes to the window, and so to the file."""

    offset: int
    data: bytes
    name: str
    file_offset: int


Step = Request | Load | Store


def guest_session() -> Iterator[Step]:
    """Mount, read, write, outgrow the window, unmount; mount again, and have the power cut."""
    yield from _mount()
    yield from _open("data.bin", DATA, fh=1)
    yield from _read_then_write()
    yield from _grow()
    yield from _open("large.bin", LARGE, fh=2)
    yield from _outgrow_the_window()
    yield from _open("small.txt", SMALL, fh=3)
    yield _ask("READ small.txt", FUSE_READ, SMALL, struct.pack("<QQIIQII", 3, 0, 4096, 0, 0, 0, 0))
    yield from _unmount()
    yield from _mount()
    yield from _open("data.bin", DATA + 3, fh=4)
    yield _map("data.bin", DATA + 3, 0, 0)
    yield from _mount()  # the power was cut: nothing was removed


_unique = count(2, 2)  # Linux numbers requests by twos


def _ask(text: str, opcode: int, nodeid: int, body: bytes = b"", *, errno: int | None = 0) -> Request:
    return Request(text, request(opcode, body, unique=next(_unique), nodeid=nodeid), errno)


def _map(name: str, nodeid: int, file_slot: int, slot: int, *, writable: bool = False) -> Request:
    flags = FUSE_SETUPMAPPING_FLAG_READ | (FUSE_SETUPMAPPING_FLAG_WRITE if writable else 0)
    body = SetupMapping(FUSE_NO_FH, file_slot * SLOT, SLOT, flags, slot * SLOT).build()
    text = f"SETUPMAPPING {name} + {file_slot * 2} MiB at window offset {slot * 2} MiB"
    return _ask(f"{text}, {'read and write' if writable else 'read'}", FUSE_SETUPMAPPING, nodeid, body)


def _unmap(nodeid: int, *slots: int) -> Request:
    body = RemoveMapping(tuple((slot * SLOT, SLOT) for slot in slots)).build()
    text = ", ".join(f"{slot * 2} MiB" for slot in slots)
    return _ask(f"REMOVEMAPPING at window offset {text}", FUSE_REMOVEMAPPING, nodeid, body)


def _mount() -> Iterator[Step]:
    flags = FUSE_MAP_ALIGNMENT | FUSE_INIT_EXT | FUSE_HAS_INODE_DAX
    yield _ask("INIT", FUSE_INIT, 0, InitIn(7, 41, 0x20000, flags).build())
    yield _ask("GETATTR /", FUSE_GETATTR, ROOT, bytes(16))


def _open(name: str, nodeid: int, fh: int) -> Iterator[Step]:
    yield _ask(f"LOOKUP {name}", FUSE_LOOKUP, ROOT, name.encode() + b"\0")
    yield _ask(f"OPEN {name}, which gives handle {fh}", FUSE_OPEN, nodeid, struct.pack("<II", 2, 0))


def _read_then_write() -> Iterator[Step]:
    yield _map("data.bin", DATA, 0, 2)
    yield Load(2 * SLOT, SIZES["data.bin"], "data.bin", 0)
    # The first store: the same range again, with WRITE, and no REMOVEMAPPING before it.
    yield _ask("GETXATTR security.capability", FUSE_GETXATTR, DATA, bytes(8) + b"security.capability\0", errno=95)
    yield _map("data.bin", DATA, 0, 2, writable=True)
    yield Store(2 * SLOT + 4096, b"stored by the guest", "data.bin", 4096)


def _grow() -> Iterator[Step]:
    end = SIZES["data.bin"]
    write = struct.pack("<QQIIQII", 1, end, len(GROWN), 0, 0, 0, 0) + GROWN
    yield _ask("WRITE data.bin, past its end", FUSE_WRITE, DATA, write)
    yield _ask("GETATTR data.bin", FUSE_GETATTR, DATA, bytes(16))
    yield Load(2 * SLOT, end + len(GROWN), "data.bin", 0)  # through the old mapping


def _outgrow_the_window() -> Iterator[Step]:
    for file_slot, slot in enumerate((0, 3, 1)):
        yield _map("large.bin", LARGE, file_slot, slot)
        yield Load(slot * SLOT, SLOT, "large.bin", file_slot * SLOT)
    # The window is full: a range is taken from the file that was read longest ago.
    for file_slot, slot in ((3, 0), (4, 3)):
        yield _unmap(LARGE, slot)
        yield _map("large.bin", LARGE, file_slot, slot)
        yield Load(slot * SLOT, SLOT, "large.bin", file_slot * SLOT)


def _unmount() -> Iterator[Step]:
    for nodeid, fh, name in ((DATA, 1, "data.bin"), (LARGE, 2, "large.bin"), (SMALL, 3, "small.txt")):
        yield _ask(f"FLUSH {name}", FUSE_FLUSH, nodeid, struct.pack("<QQQ", fh, 0, 0))
        yield _ask(f"RELEASE {name}", FUSE_RELEASE, nodeid, struct.pack("<QIIQ", fh, 0, 0, 0))
    yield _unmap(LARGE, 1, 3, 0)  # in any order
    yield _unmap(DATA, 2)
    for nodeid, name in ((DATA, "data.bin"), (LARGE, "large.bin"), (SMALL, "small.txt")):
        yield _ask(f"FORGET {name}", FUSE_FORGET, nodeid, struct.pack("<Q", 1), errno=None)
    yield _ask("DESTROY", FUSE_DESTROY, 0)
