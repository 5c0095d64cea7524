"""What the kernel says of this process's memory, without asking the mapper."""

import ctypes
import mmap
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

PAGE = mmap.PAGESIZE
LIBC = ctypes.CDLL(None, use_errno=True)


class Shown(NamedTuple):
    """What a range of addresses shows."""

    access: str
    """As /proc/self/maps has it: "rw-s"."""
    inode: int
    """0 for anonymous memory."""
    origin: int
    """The address at which the file's first byte lies, or would lie; 0 for anonymous memory."""


HOLE = Shown("---p", 0, 0)
NOTHING = Shown("free", 0, 0)
"""Nothing at all: another thread's mmap may land there."""


@dataclass(frozen=True)
class Piece:
    """A range of addresses that shows one thing."""

    start: int
    end: int
    shown: Shown


def joined(pieces: Iterable[Piece]) -> list[Piece]:
    """The same, with neighbours that show the same thing made one, as the kernel may or may not do."""
    result: list[Piece] = []
    for piece in pieces:
        if result and (result[-1].end, result[-1].shown) == (piece.start, piece.shown):
            result[-1] = Piece(result[-1].start, piece.end, piece.shown)
        elif piece.start < piece.end:
            result.append(piece)
    return result


def descriptors() -> set[str]:
    """The descriptors that this process has, but for the one that they are read by."""
    directory = Path("/proc/self/fd")
    return {entry.name for entry in directory.iterdir() if entry.is_symlink()}


def vmas() -> Iterator[Piece]:
    """Every mapping of this process."""
    return map(_piece, Path("/proc/self/maps").read_text().splitlines())


@lru_cache(maxsize=4096)
def _piece(line: str) -> Piece:
    """What a line of proc_pid_maps(5) says. The same hundreds of libraries are read again and again."""
    span, access, offset, _device, number, *name = line.split(maxsplit=5)
    start, end = (int(address, 16) for address in span.split("-"))
    # Shared anonymous memory and KVM's have inodes of the kernel's own. A test's file may have the same number.
    is_file = name and name[0].startswith("/") and name[0] != "/dev/zero (deleted)"
    inode = int(number) if is_file else 0
    origin = start - int(offset, 16) if inode else 0
    return Piece(start, end, Shown(access, inode, origin))


def shown_in(start: int, end: int) -> list[Piece]:
    """What every byte of the range shows."""
    pieces = []
    reached = start
    for vma in vmas():
        if vma.end <= start or vma.start >= end:
            continue
        pieces.append(Piece(reached, max(reached, vma.start), NOTHING))
        pieces.append(Piece(max(start, vma.start), min(end, vma.end), vma.shown))
        reached = min(end, vma.end)
    pieces.append(Piece(reached, end, NOTHING))
    return joined(pieces)


class _Range(ctypes.Structure):
    """`struct iovec` of readv(2)."""

    _fields_ = (("start", ctypes.c_void_p), ("length", ctypes.c_size_t))


def peek(address: int, length: int) -> bytes | None:
    """The bytes at a host address, or None where a load of one of them would be a signal: process_vm_readv(2)."""
    buffer = ctypes.create_string_buffer(length)
    here, there = _Range(ctypes.addressof(buffer), length), _Range(address, length)
    done = LIBC.process_vm_readv(os.getpid(), ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
    return buffer.raw if done == length else None


def poke(address: int, data: bytes) -> bool:
    """Store to a host address, unless that would be a signal: process_vm_writev(2)."""
    buffer = ctypes.create_string_buffer(data, len(data))
    here, there = _Range(ctypes.addressof(buffer), len(data)), _Range(address, len(data))
    done = LIBC.process_vm_writev(os.getpid(), ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
    return bool(done == len(data))
