"""What a process can run out of. For processes of a test's own: nobody else would go on."""

import ctypes
import mmap
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from support.host import LIBC, PAGE

MAX_MAP_COUNT = int(Path("/proc/sys/vm/max_map_count").read_text())
_MCL_FUTURE = 2
_CAP_IPC_LOCK = 14


def errno_of(call: Callable[[], object]) -> int:
    """0 for success."""
    try:
        call()
    except OSError as error:
        return error.errno or -1
    return 0


@contextmanager
def no_more_areas() -> Iterator[None]:
    """Use up all memory areas (VMAs): vm.max_map_count."""
    filler = mmap.mmap(-1, 2 * MAX_MAP_COUNT * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    start = ctypes.addressof(ctypes.c_char.from_buffer(filler))
    protect = LIBC.mprotect
    protect.argtypes = (ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int)
    split = 0
    while protect(start + split, PAGE, mmap.PROT_READ) == 0:
        split += 2 * PAGE
    try:
        yield
    finally:
        assert protect(start, split, mmap.PROT_READ | mmap.PROT_WRITE) == 0
        filler.close()


@contextmanager
def limited(which: int, soft: int) -> Iterator[None]:
    """A lower limit of setrlimit(2)."""
    before = resource.getrlimit(which)
    resource.setrlimit(which, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(which, before)


@contextmanager
def little_memory(left: int) -> Iterator[None]:
    """Let the address space grow by `left` bytes only: RLIMIT_AS."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    with limited(resource.RLIMIT_AS, pages * PAGE + left):
        yield


@contextmanager
def no_more_files() -> Iterator[None]:
    """No file can be opened: RLIMIT_NOFILE."""
    lowest_free = os.dup(0)
    os.close(lowest_free)
    with limited(resource.RLIMIT_NOFILE, lowest_free):
        yield


@contextmanager
def little_locked_memory(left: int) -> Iterator[None]:
    """What is mapped is locked, but no more than `left` bytes: mmap(2) answers EAGAIN. Takes CAP_IPC_LOCK for good."""
    _drop_capability(_CAP_IPC_LOCK)
    with limited(resource.RLIMIT_MEMLOCK, left):
        assert LIBC.mlockall(_MCL_FUTURE) == 0
        try:
            yield
        finally:
            assert LIBC.munlockall() == 0


def _drop_capability(number: int) -> None:
    """As capset(2) has it, version 3: two words each of effective, permitted and inheritable ones."""
    header = (ctypes.c_uint32 * 2)(0x2008_0522, 0)
    sets = (ctypes.c_uint32 * 6)()
    assert LIBC.capget(header, sets) == 0
    for index in range(3):
        sets[index] &= ~(1 << number)
    assert LIBC.capset(header, sets) == 0
