"""Mappers that Python programs could do with, had they nothing better: the same system calls, and nothing else.

They have the methods of a mapper, refuse what is no regular file, and raise OSError with the errno.
"""

import ctypes
import mmap
import os
import stat
import sysconfig
from errno import ENODEV
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

from benches.floor import build_library

MAP_FIXED = 0x10
MAP_NORESERVE = 0x4000
"""Both as Linux has them on x86 and Arm; the module `mmap` lacks them."""

_HOLE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED
_FILE = mmap.MAP_SHARED | MAP_FIXED
_DECLARATION = "void *mmap(void *address, size_t length, int access, int flags, int fd, long offset);"


def check_regular(fd: int) -> None:
    """Refuses what a guest must never map."""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise OSError(ENODEV, "not a regular file")


class CtypesMapper:
    """With ctypes of the standard library."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._mmap = ctypes.CDLL(None, use_errno=True).mmap
        numbers = ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long
        self._mmap.argtypes = (ctypes.c_void_p, *numbers)
        self._mmap.restype = ctypes.c_void_p
        self._failed = ctypes.c_void_p(-1).value

    def setup_mapping(self, fd: int, file_offset: int, window_offset: int, length: int, writable: bool) -> None:  # noqa: FBT001
        """Sets a mapping up."""
        check_regular(fd)
        access = mmap.PROT_READ | mmap.PROT_WRITE if writable else mmap.PROT_READ
        if self._mmap(self._window + window_offset, length, access, _FILE, fd, file_offset) == self._failed:
            raise OSError(ctypes.get_errno(), "mmap")

    def remove_mapping(self, window_offset: int, length: int) -> None:
        """Puts a hole in its place."""
        if self._mmap(self._window + window_offset, length, 0, _HOLE, -1, 0) == self._failed:
            raise OSError(ctypes.get_errno(), "mmap")


class ScanningMapper(CtypesMapper):
    """The same, with a book that is searched from end to end for overlaps."""

    def __init__(self, window: int, live: dict[int, int]) -> None:
        super().__init__(window)
        self._live = live

    def setup_mapping(self, fd: int, file_offset: int, window_offset: int, length: int, writable: bool) -> None:  # noqa: FBT001
        """Sets a mapping up where none is."""
        end = window_offset + length
        if any(start < end and window_offset < start + size for start, size in self._live.items()):
            raise FileExistsError
        super().setup_mapping(fd, file_offset, window_offset, length, writable)
        self._live[window_offset] = length

    def remove_mapping(self, window_offset: int, length: int) -> None:
        """Puts a hole in its place, if there is such a mapping."""
        if self._live.get(window_offset) != length:
            raise FileNotFoundError
        super().remove_mapping(window_offset, length)
        del self._live[window_offset]


class CffiMapper:
    """With cffi, in its faster mode: glue compiled from C."""

    def __init__(self, window: int, cffi: Any, directory: Path) -> None:  # noqa: ANN401
        module = _compile_glue(cffi, directory)
        self._window = module.ffi.cast("char *", window)
        self._failed = module.ffi.cast("void *", -1)
        self._mmap = module.lib.mmap
        self._ffi = module.ffi

    def setup_mapping(self, fd: int, file_offset: int, window_offset: int, length: int, writable: bool) -> None:  # noqa: FBT001
        """Sets a mapping up."""
        check_regular(fd)
        access = mmap.PROT_READ | mmap.PROT_WRITE if writable else mmap.PROT_READ
        if self._mmap(self._window + window_offset, length, access, _FILE, fd, file_offset) == self._failed:
            raise OSError(self._ffi.errno, "mmap")

    def remove_mapping(self, window_offset: int, length: int) -> None:
        """Puts a hole in its place."""
        if self._mmap(self._window + window_offset, length, 0, _HOLE, -1, 0) == self._failed:
            raise OSError(self._ffi.errno, "mmap")


def _compile_glue(cffi: Any, directory: Path) -> Any:  # noqa: ANN401
    builder = cffi.FFI()
    builder.cdef(_DECLARATION)
    builder.set_source("glue", "#include <sys/mman.h>")
    source = directory / "glue.c"
    builder.emit_c_code(str(source))
    library = build_library(source, directory, f"-I{sysconfig.get_path('include')}")
    loader = ExtensionFileLoader("glue", str(library))
    spec = spec_from_loader("glue", loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module
