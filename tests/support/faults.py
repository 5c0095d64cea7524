"""Control of the preloaded tests/support/faults.c."""

import ctypes
from dataclasses import dataclass
from enum import IntEnum

from support.host import PAGE, peek


class Call(IntEnum):
    """A system call of a host window."""

    PLACE = 0
    """A file is mapped over a part of the window."""
    CLEAR = 1
    """A hole is mapped over a part of the window."""
    REFILL = 2
    """A hole is mapped where nothing is."""
    PROBE = 3
    """A file is mapped elsewhere, on trial."""
    RESERVE = 4
    """The window's addresses are reserved."""
    FREE = 5
    """munmap."""
    SET_SLOT = 6
    """KVM_SET_USER_MEMORY_REGION with a size: a slot is put in, or changed."""
    DELETE_SLOT = 7
    """KVM_SET_USER_MEMORY_REGION with a size of 0."""
    CAPABILITY = 8
    """KVM_CHECK_EXTENSION."""
    QUERY = 9
    """PROCMAP_QUERY: what lies at an address."""
    KVM = 10
    """An ioctl of KVM's: SIGALRM comes in it, and it fails unless the error is 0."""


class Effect(IntEnum):
    """What a failed mmap leaves."""

    KEEP = 0
    """What was there."""
    EMPTY = 1
    """Nothing: the addresses are free."""
    INTRUDE = 2
    """A page of another owner's memory, and else nothing."""


class _Plan(ctypes.Structure):
    _fields_ = (
        ("skip", ctypes.c_ulong),
        ("times", ctypes.c_ulong),
        ("error", ctypes.c_int),
        ("effect", ctypes.c_int),
        ("address", ctypes.c_size_t),
    )


class Arguments(ctypes.Structure):
    """Those of an mmap that was let through."""

    _fields_ = (
        ("address", ctypes.c_size_t),
        ("length", ctypes.c_size_t),
        ("protection", ctypes.c_int),
        ("flags", ctypes.c_int),
    )
    address: int
    length: int
    protection: int
    flags: int


class Region(ctypes.Structure):
    """struct kvm_userspace_memory_region of a SET_SLOT that was let through."""

    _fields_ = (
        ("slot", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("guest_phys_addr", ctypes.c_uint64),
        ("memory_size", ctypes.c_uint64),
        ("userspace_addr", ctypes.c_uint64),
    )
    slot: int
    flags: int
    guest_phys_addr: int
    memory_size: int
    userspace_addr: int


_LIBRARY = ctypes.CDLL(None)


@dataclass(frozen=True)
class Fault:
    """`times` calls fail with `error`, after `skip` that don't.

    With an `address`, only calls that cover it count, and an intruder lands there; else at the start of the range.
    """

    error: int
    effect: Effect = Effect.KEEP
    skip: int = 0
    times: int = 1
    address: int = 0


def plan(call: Call, fault: Fault | None) -> None:
    """From now on, fail these calls, or none."""
    fault = fault or Fault(0, times=0)
    planned = _Plan(fault.skip, fault.times, fault.error, fault.effect, fault.address)
    _LIBRARY.fault_plan(call, ctypes.byref(planned))


def count(call: Call) -> int:
    """How many of these calls were made."""
    return int(_LIBRARY.fault_count(call))


def last(call: Call) -> Arguments:
    """What the last of them asked for."""
    get = _LIBRARY.fault_last
    get.restype = Arguments
    arguments: Arguments = get(call)
    return arguments


def last_region() -> Region:
    """What the last SET_SLOT asked for."""
    get = _LIBRARY.fault_last_region
    get.restype = Region
    region: Region = get()
    return region


def pretend_page_size(size: int) -> None:
    """What sysconf(3) says of the page size from now on: -1 that it does not know, 0 the truth."""
    _LIBRARY.fault_page_size(ctypes.c_long(size))


def intruder() -> int:
    """Where the last intruder landed."""
    get = _LIBRARY.fault_intruder
    get.restype = ctypes.c_size_t
    return int(get())


def is_untouched_intruder(address: int) -> bool:
    """Whether the intruder's page is as it came."""
    return peek(address, PAGE) == b"\xa5" * PAGE
