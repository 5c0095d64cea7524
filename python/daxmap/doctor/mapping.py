"""Daxmap's main job, done: a page of a file is mapped, seen and removed."""

import ctypes
import mmap
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from errno import ENOMEM
from io import FileIO
from tempfile import TemporaryFile

from daxmap import Access, DaxMapper, HostWindowBackend, HypervisorBackend
from daxmap.doctor.fact import Fact, fail, ok, told, warn

__all__ = ["copies", "mapping", "proc_fact"]

_BASE = 1 << 32
_CONTENT = b"daxmap doctor"
_COPY_CALLS = ("process_vm_readv", "process_vm_writev")
_SYSTEM_CALLS = "let the sandbox allow daxmap's system calls: DESIGN.md lists them"


class _Guest:
    """A hypervisor without a guest: it keeps the address of what it is to show."""

    def __init__(self) -> None:
        self.address = 0

    def map(self, host_address: int, _guest_address: int, _length: int, _access: Access) -> None:
        self.address = host_address

    def unmap(self, _guest_address: int, _length: int) -> None:
        self.address = 0


def mapping(system: str) -> Fact:
    """Map a page of a file, see it as a guest would, and remove it. A failure is daxmap's: all else rests on this.

    Args:
        system: the operating system, as `platform.system` names it. Only Linux has host windows; elsewhere the backend
            is one for hypervisors.
    """
    name = "mapping"
    try:
        file = _file()
    except OSError as error:
        return fail(name, f"there is no file to map: {told(error)}", "let TMPDIR name a directory with room for a file")
    try:
        with file, _mapped(file, system) as (mapper, address):
            seen = _load(address, len(_CONTENT))
            mapper.remove_mapping(0, mmap.PAGESIZE)
    except OSError as error:
        enough = "raise RLIMIT_AS (`ulimit -v`) and vm.max_map_count" if error.errno == ENOMEM else _SYSTEM_CALLS
        return fail(name, f"a page of a file can't be mapped: {told(error)}", enough)
    if seen != _CONTENT:
        return fail(name, f"a page of a file was mapped, and showed {seen!r} instead of {_CONTENT!r}", _SYSTEM_CALLS)
    return ok(name, "a page of a file was mapped, seen and removed")


def copies(system: str) -> Fact:
    """Whether `DaxMapper.read` and `write` work, and how. To be asked where `mapping` is ok.

    Args:
        system: as for `mapping`.
    """
    name = "DaxMapper.read"
    try:
        with _file() as file, _mapped(file, system) as (mapper, _):
            mapper.read(_BASE, len(_CONTENT))
    except OSError as error:
        return warn(
            name,
            f"DaxMapper.read and write don't work, though a guest sees its mappings: {told(error)}",
            f"let the sandbox allow {' and '.join(_COPY_CALLS)}, or mount /proc",
        )
    if system != "Linux":
        return ok(name, "works")
    refusals = [f"{call} is refused: {told(refusal)}" for call in _COPY_CALLS if (refusal := _refusal(call))]
    if not refusals:
        return ok(name, f"by {' and '.join(_COPY_CALLS)}")
    return warn(
        name,
        f"by /proc/self/mem, at three system calls more; {'; '.join(refusals)}",
        f"let the sandbox allow {' and '.join(_COPY_CALLS)}: `daxmap serve` has no other way to a guest's requests",
    )


def proc_fact(proc: str = "/proc") -> Fact:
    """Whether there is a procfs.

    Args:
        proc: where it should be mounted.
    """
    try:
        for name in ("maps", "fd"):
            os.close(os.open(f"{proc}/self/{name}", os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        detail = f"{told(error)}: FileServer and reopen can't open files without it"
        return warn("/proc", detail, f"mount it: `mount -t proc proc {proc}`, inside the sandbox")
    return ok("/proc", "is mounted")


def _file() -> FileIO:
    """A file of one page."""
    file = TemporaryFile(prefix="daxmap-doctor-", buffering=0)  # noqa: SIM115  (the caller closes it)
    try:
        file.write(_CONTENT.ljust(mmap.PAGESIZE, b"\0"))
    except OSError:
        file.close()
        raise
    return file


@contextmanager
def _mapped(file: FileIO, system: str) -> Iterator[tuple[DaxMapper, int]]:
    """A mapper whose window shows the file, and the host address of that."""
    with ExitStack() as stack:
        guest = _Guest()
        backend: HostWindowBackend | HypervisorBackend
        if system == "Linux":
            backend = HostWindowBackend()
            stack.callback(backend.release)
        else:
            backend = HypervisorBackend(guest)
        mapper = stack.enter_context(DaxMapper(_BASE, mmap.PAGESIZE, backend))
        mapper.setup_mapping(file, 0, 0, mmap.PAGESIZE, writable=False)
        yield mapper, mapper.host_address or guest.address


def _load(address: int, length: int) -> bytes:
    """What lies at a host address.

    The kernel does the load, on its way into a pipe: it answers EFAULT where a load of our own would be a signal. No
    sandbox forbids that.
    """
    reader, writer = os.pipe()
    try:
        os.write(writer, (ctypes.c_char * length).from_address(address))
        return os.read(reader, length)
    finally:
        os.close(reader)
        os.close(writer)


def _refusal(call: str) -> OSError | None:
    """What process_vm_readv(2) or process_vm_writev(2) says of a copy within this process."""
    buffers = [ctypes.create_string_buffer(1) for _ in range(2)]
    # Each a `struct iovec` of readv(2): an address and a length.
    here, there = ((ctypes.c_size_t * 2)(ctypes.addressof(buffer), 1) for buffer in buffers)
    function = getattr(ctypes.CDLL(None, use_errno=True), call)
    if function(os.getpid(), ctypes.byref(here), 1, ctypes.byref(there), 1, 0) == 1:
        return None
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
