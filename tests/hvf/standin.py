"""The stand-in for Hypervisor.framework: how it is built, and its face for tests. See standin.c."""

import ctypes
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from support.libraries import build_library

SOURCES = Path(__file__).parent

READ, WRITE, EXEC = 1, 2, 4


class Code(IntEnum):
    """`hv_return_t` of hv_error.h, as an unsigned number."""

    SUCCESS = 0
    ERROR = 0xFAE94001
    BUSY = 0xFAE94002
    BAD_ARGUMENT = 0xFAE94003
    ILLEGAL_GUEST_STATE = 0xFAE94004
    NO_RESOURCES = 0xFAE94005
    NO_DEVICE = 0xFAE94006
    DENIED = 0xFAE94007
    FAULT = 0xFAE94008
    UNSUPPORTED = 0xFAE9400F


class Operation(IntEnum):
    """What was called: `enum operation`."""

    CREATE = 0
    DESTROY = 1
    MAP = 2
    UNMAP = 3
    PROTECT = 4


@dataclass(frozen=True)
class Range:
    """Host memory that the guest has."""

    host: int
    ipa: int
    size: int
    flags: int


@dataclass(frozen=True)
class Call:
    """A call, and what became of it."""

    operation: Operation
    range: Range
    backed: bool
    """Whether, when the call was made, the process had readable and writable memory at the range's host address."""
    code: Code


class _Range(ctypes.Structure):
    _fields_ = (
        ("host", ctypes.c_uint64),
        ("ipa", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
    )

    def value(self) -> Range:
        return Range(self.host, self.ipa, self.size, self.flags)


class _Call(ctypes.Structure):
    _fields_ = (
        ("operation", ctypes.c_uint64),
        ("range", _Range),
        ("backed", ctypes.c_uint64),
        ("code", ctypes.c_uint64),
    )

    def value(self) -> Call:
        return Call(Operation(self.operation), self.range.value(), bool(self.backed), Code(self.code))


class Standin:
    """The one VM of the process, as the stand-in keeps it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        library = ctypes.CDLL(str(path))
        size, number = ctypes.c_size_t, ctypes.c_uint64
        library.hv_vm_create.argtypes = (ctypes.c_void_p,)
        library.hv_vm_map.argtypes = (ctypes.c_void_p, number, size, number)
        library.hv_vm_unmap.argtypes = (number, size)
        library.hv_vm_protect.argtypes = (number, size, number)
        library.standin_reset.argtypes = (number,)
        library.standin_fail.argtypes = (size, size, ctypes.c_uint32)
        library.standin_access.argtypes = (number, ctypes.c_char_p, size, number)
        library.standin_access.restype = ctypes.c_bool
        for name in ("standin_ranges", "standin_calls"):
            function = getattr(library, name)
            function.argtypes, function.restype = (ctypes.c_void_p, size), size
        library.standin_calls_without_vm.restype = size
        self._library = library

    def reset(self, page_size: int) -> None:
        """Forget everything. There is no VM then."""
        self._library.standin_reset(page_size)

    # The framework, as a VMM calls it.

    def create(self) -> Code:
        return self._code(self._library.hv_vm_create(None))

    def destroy(self) -> Code:
        return self._code(self._library.hv_vm_destroy())

    def map(self, host: int, ipa: int, size: int, flags: int) -> Code:
        return self._code(self._library.hv_vm_map(host, ipa, size, flags))

    def unmap(self, ipa: int, size: int) -> Code:
        return self._code(self._library.hv_vm_unmap(ipa, size))

    def protect(self, ipa: int, size: int, flags: int) -> Code:
        return self._code(self._library.hv_vm_protect(ipa, size, flags))

    @staticmethod
    def _code(answer: int) -> Code:
        return Code(answer % (1 << 32))

    # The guest.

    def load(self, ipa: int, size: int) -> bytes | None:
        """What the guest loads, or None where it may not."""
        buffer = ctypes.create_string_buffer(size)
        return buffer.raw if self._library.standin_access(ipa, buffer, size, READ) else None

    def store(self, ipa: int, data: bytes) -> bool:
        """Have the guest store. False where it may not."""
        return bool(self._library.standin_access(ipa, data, len(data), WRITE))

    # The test.

    def deny(self) -> None:
        """Take the entitlement from this program, which has no VM."""
        self._library.standin_deny()

    def fail(self, nth: int, code: Code = Code.ERROR, *, count: int = 1) -> None:
        """Have `count` calls that change memory fail, from the `nth` on, counted from 1."""
        self._library.standin_fail(nth, count, code)

    def ranges(self, start: int = 0, end: int = 1 << 64) -> list[Range]:
        """What the guest has that begins in `[start, end)`, by rising guest address."""
        ranges = (_Range * self._library.standin_ranges(None, 0))()
        self._library.standin_ranges(ranges, len(ranges))
        found = sorted((entry.value() for entry in ranges), key=lambda entry: entry.ipa)
        return [entry for entry in found if start <= entry.ipa < end]

    def calls(self) -> list[Call]:
        """Every call so far, in order."""
        calls = (_Call * self._library.standin_calls(None, 0))()
        self._library.standin_calls(calls, len(calls))
        return [call.value() for call in calls]

    def operations(self) -> list[Operation]:
        """The names of the calls so far, in order."""
        return [call.operation for call in self.calls()]

    @property
    def calls_without_vm(self) -> int:
        """How many calls found no VM, or a destroyed one: each is undefined behaviour on a Mac."""
        return int(self._library.standin_calls_without_vm())


@cache
def stand_in() -> Standin:
    """The stand-in, built once: a process has one VM."""
    return Standin(build_library(Path(_directory().name), SOURCES / "standin.c", SOURCES / "vcpu.c"))


@cache
def _directory() -> TemporaryDirectory[str]:
    """Where its library lies until the process ends."""
    return TemporaryDirectory(prefix="daxmap-hvf-")
