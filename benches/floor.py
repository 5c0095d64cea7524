"""The floors of floor.c, compiled when they are needed, as functions of Python."""

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

SOURCE = Path(__file__).with_name("floor.c")
SLOT = 2 << 20
"""What a Linux guest maps at a time, in bytes: `FUSE_DAX_SZ` of fs/fuse/dax.c."""


def build_library(source: Path, directory: Path, *flags: str) -> Path:
    """Compiles a C file into a shared library.

    Raises:
        FileNotFoundError: There is no C compiler (cc).
        subprocess.CalledProcessError: It refused.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise FileNotFoundError("no C compiler (cc)")
    library = directory / f"{source.stem}.so"
    command = [compiler, "-O2", "-Wall", "-shared", "-fPIC", *flags, "-o", str(library), str(source)]
    subprocess.run(command, check=True)  # noqa: S603
    return library


class Work(ctypes.Structure):
    """`struct work`: what is to be done at each of many offsets of a window."""

    _fields_ = (
        ("window", ctypes.c_void_p),
        ("offsets", ctypes.c_void_p),
        ("count", ctypes.c_size_t),
        ("length", ctypes.c_size_t),
        ("fd", ctypes.c_int),
    )

    def __init__(self, window: int, offsets: Sequence[int], fd: int, length: int = SLOT) -> None:
        self._keep = (ctypes.c_uint64 * len(offsets))(*offsets)
        super().__init__(window, ctypes.addressof(self._keep), len(offsets), length, fd)


class Book(ctypes.Structure):
    """`struct book`: the ranges of live mappings, packed."""

    _fields_ = (("live", ctypes.c_size_t), ("ranges", ctypes.c_void_p))

    def __init__(self, offsets: Sequence[int], length: int) -> None:
        bounds = [bound for offset in offsets for bound in (offset, offset + length)]
        self._keep = (ctypes.c_uint64 * len(bounds))(*bounds)
        super().__init__(len(offsets), ctypes.addressof(self._keep))


def load_floor(directory: Path) -> ctypes.CDLL:
    """Compiles floor.c into a directory and loads it.

    Its functions release the interpreter lock while they run. Those that can fail raise OSError.
    """
    library = ctypes.CDLL(str(build_library(SOURCE, directory)))
    address, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    work, book = ctypes.POINTER(Work), ctypes.POINTER(Book)
    may_fail: dict[str, tuple[type[ctypes._CDataType], ...]] = {
        "bare_pairs": (work,),
        "clears": (work,),
        "hold": (size, size, ctypes.POINTER(number), ctypes.POINTER(number)),
        "opening_pairs": (work, number, number),
        "pairs": (work, number),
        "places": (work, number),
        "populate": (address, size),
        "release": (address, size),
        "scanning_places": (work, book),
        "slot_pairs": (work, number, ctypes.c_uint64),
    }
    for name, arguments in may_fail.items():
        function = getattr(library, name)
        function.argtypes = arguments
        function.restype = _check
    library.reserve.argtypes = (size, size)
    library.reserve.restype = address
    library.touch.argtypes = (address, size, size, number)
    library.touch.restype = None
    return library


def _check(answer: int) -> None:
    if answer:
        raise OSError("a system call of floor.c failed")
