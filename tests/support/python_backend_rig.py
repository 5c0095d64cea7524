"""A backend that is a Python object and maps files into a window of its own: what a VMM with its own code would be."""

import ctypes
import mmap
import os
from pathlib import Path
from typing import ClassVar

from daxmap import DaxMapper
from support.host import peek, poke, shown_in
from support.rig import WORD, Rig, Subject

PROT_NONE = 0
MAP_FIXED, MAP_NORESERVE = 0x10, 0x4000
"""include/uapi/asm-generic/mman-common.h and mman.h of Linux."""
MREMAP_MAYMOVE, MREMAP_FIXED = 1, 2
"""include/uapi/linux/mman.h."""
FAILED = ctypes.c_void_p(-1).value

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = LIBC.mremap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_int64)
LIBC.mremap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p)
LIBC.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)


class OwnWindow:
    """A window of host addresses, in which files show. The methods of `daxmap.protocols.Backend`, and `protect`."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.start = self._hole(None, size)
        self._file_offsets: dict[int, int] = {}
        """By window offset."""

    def map(self, fd: int, file_offset: int, window_offset: int, length: int, writable: bool) -> None:  # noqa: FBT001
        assert not self._file_offsets.keys() & set(range(window_offset, window_offset + length, mmap.PAGESIZE))
        self._show(fd, file_offset, window_offset, length, writable=writable)
        self._file_offsets[window_offset] = file_offset

    def unmap(self, window_offset: int, length: int) -> None:
        """Have the range show nothing, whether it did or not: asked for after a `map` that raised too."""
        self._file_offsets.pop(window_offset, None)
        self._hole(self.start + window_offset, length)

    def protect(self, fd: int, window_offset: int, length: int, writable: bool) -> None:  # noqa: FBT001
        self._show(fd, self._file_offsets[window_offset], window_offset, length, writable=writable)

    def release(self) -> None:
        """Free the addresses."""
        assert LIBC.munmap(self.start, self.size) == 0

    def _show(self, fd: int, file_offset: int, window_offset: int, length: int, *, writable: bool) -> None:
        """Map elsewhere what is then moved into the window: what cannot be mapped changes nothing there."""
        access = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        new = checked(LIBC.mmap(None, length, access, mmap.MAP_SHARED, fd, file_offset))
        flags = MREMAP_MAYMOVE | MREMAP_FIXED
        checked(LIBC.mremap(new, length, length, flags, self.start + window_offset))

    @staticmethod
    def _hole(address: int | None, length: int) -> int:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE | (MAP_FIXED if address else 0)
        return checked(LIBC.mmap(address, length, PROT_NONE, flags, -1, 0))


def checked(address: int) -> int:
    """The address that a system call returned, unless it failed."""
    if address == FAILED:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno))
    return address


class PythonBackendRig(Rig):
    """A VMM that maps by itself: the kernel's copies stand for its guest."""

    can_copy: ClassVar[bool] = False

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._windows: dict[int, OwnWindow] = {}
        """By guest physical address."""

    def attach(self, base: int, size: int, *, readonly: bool, max_mappings: int | None) -> Subject:
        window = OwnWindow(size)
        try:
            mapper = DaxMapper(base, size, window, readonly=readonly, max_mappings=max_mappings)
        except ValueError:
            window.release()
            raise
        self._windows[base] = window
        return Subject(self, mapper, window.release)

    def check_host(self, subject: Subject) -> None:
        start = self._windows[subject.mapper.base].start
        assert shown_in(start, start + subject.mapper.size) == subject.pieces(start)
        windows = self._windows.values()
        for vma in self.mapped():
            assert any(window.start <= vma.start and vma.end <= window.start + window.size for window in windows), vma

    def peek(self, mapper: DaxMapper, offset: int, length: int) -> bytes | None:
        return peek(self._windows[mapper.base].start + offset, length)

    def load(self, mapper: DaxMapper, offset: int) -> int | None:
        data = self.peek(mapper, offset, WORD)
        return None if data is None else int.from_bytes(data, "little")

    def store(self, mapper: DaxMapper, offset: int, value: int) -> bool:
        return poke(self._windows[mapper.base].start + offset, value.to_bytes(WORD, "little"))
