"""The Rust core. Private: import these names from `daxmap`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, final

from _typeshed import FileDescriptorLike, ReadableBuffer, StrPath, WriteableBuffer
from typing_extensions import disjoint_base

from daxmap.layout import Share
from daxmap.protocols import Backend, Hypervisor, Mapper, Opener, Resolver

__all__ = [
    "DaxMapper",
    "DaxStats",
    "HostWindowBackend",
    "HvfBackend",
    "HypervisorBackend",
    "KvmBackend",
    "MappingInfo",
    "RemoveResult",
    "_Device",
    "_Dispatcher",
    "_FileServer",
    "__version__",
    "_refuse_other_threads",
    "_threads_inside",
    "reopen",
]

__version__: str

def _refuse_other_threads() -> None:
    """From now on, let only the calling thread get into Python code from Rust; on others it is SystemExit."""

def _threads_inside() -> list[int]:
    """The threads that are in Python code which Rust has called, as `threading.get_ident` numbers them."""

def reopen(path_fd: FileDescriptorLike, writable: bool) -> FileIO:
    """Open the regular file that an O_PATH descriptor stands for, whatever its path leads to by now.

    Opened through /proc/self/fd (Linux, proc(5)), which leads to the inode itself: nobody who renames or replaces files
    can make this another file, and nothing but a regular file is opened, so that it never blocks. Made for
    `DaxDispatcher`'s resolver, which may return it as it is. Thread-safe.

    Where /proc goes away later (chroot(2), a mount namespace), it works on: /proc/self is kept open from the first call
    in a process on, or from when its first `DaxDispatcher` was made. A forked child opens its own.

    Args:
        path_fd: A descriptor of the file, O_PATH (open(2)) or other: an int or an object with `fileno()`.
        writable: Open for reading and writing, else for reading.

    Returns:
        The file, unbuffered; it is the caller's to close.

    Raises:
        TypeError: `path_fd` is no descriptor: a path, say; or `writable` is no bool.
        OSError: EBADF (`path_fd` is not open), ENODEV (not a regular file, as mmap(2) says), ESTALE (`path_fd` became
            another file's during the call), and what open(2) says: of the file EACCES, EROFS, ETXTBSY and the like; of
            /proc/self/fd itself, which the message then names, ENOENT where no /proc is mounted. ENOTSUP elsewhere than
            on Linux.
    """

@final
class MappingInfo:
    """One live mapping, as it was when it was asked for. A plain value: compared, hashed, matched, pickled."""

    __match_args__ = ("window_offset", "length", "file_offset", "writable", "dev", "ino")
    def __new__(cls, window_offset: int, length: int, file_offset: int, writable: bool, dev: int, ino: int) -> Self: ...
    def __reduce__(self) -> tuple[Any, ...]: ...
    @property
    def window_offset(self) -> int:
        """Where it starts in the window, in bytes."""
    @property
    def length(self) -> int:
        """Its length in bytes."""
    @property
    def file_offset(self) -> int:
        """Where it starts in the file, in bytes."""
    @property
    def writable(self) -> bool:
        """Whether the guest may store to it."""
    @property
    def dev(self) -> int:
        """`st_dev` of the file."""
    @property
    def ino(self) -> int:
        """`st_ino` of the file."""
    def __eq__(self, value: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class RemoveResult:
    """What became of a batch of removals. A plain value: compared, matched, pickled."""

    __match_args__ = ("removed", "failed")
    def __new__(cls, removed: int, failed: Sequence[tuple[int, int, int]]) -> Self: ...
    def __reduce__(self) -> tuple[Any, ...]: ...
    @property
    def removed(self) -> int:
        """How many entries were removed."""
    @property
    def failed(self) -> list[tuple[int, int, int]]:
        """The other entries, in the order given: window offset, length, errno."""
    @property
    def errno(self) -> int:
        """The errno of the first entry that failed, which is what a FUSE reply carries; 0 if none did."""
    def __eq__(self, value: object, /) -> bool: ...

@final
class DaxStats:
    """A mapper's counters at one moment. A plain value: compared, matched, pickled, made of `as_dict()`.

    When no call is under way, `setup_count + split_count == remove_count + replaced_count + swept_count +
    leaked_count + lost_count + live_mappings`.

    `DaxStats()` is all zeros, and `after - before` is what happened in between: `live_mappings`, `live_bytes` and
    `peak_mappings` are then by how much they rose, and may be negative.

    Raises:
        OverflowError: A counter outside 64 bits, signed.
    """

    __match_args__ = (
        "setup_count",
        "setup_bytes",
        "remove_count",
        "upgrade_count",
        "replaced_count",
        "split_count",
        "swept_count",
        "leaked_count",
        "lost_count",
        "live_mappings",
        "live_bytes",
        "peak_mappings",
        "errors",
    )
    def __new__(
        cls,
        *,
        setup_count: int = 0,
        setup_bytes: int = 0,
        remove_count: int = 0,
        upgrade_count: int = 0,
        replaced_count: int = 0,
        split_count: int = 0,
        swept_count: int = 0,
        leaked_count: int = 0,
        lost_count: int = 0,
        live_mappings: int = 0,
        live_bytes: int = 0,
        peak_mappings: int = 0,
        errors: Mapping[int, int] | None = None,
    ) -> Self: ...
    def __sub__(self, value: DaxStats, /) -> DaxStats: ...
    def __rsub__(self, value: DaxStats, /) -> DaxStats: ...
    def __reduce__(self) -> tuple[Any, ...]: ...
    @property
    def setup_count(self) -> int:
        """Mappings set up. An upgrade is not one."""
    @property
    def setup_bytes(self) -> int:
        """Bytes of the mappings set up."""
    @property
    def remove_count(self) -> int:
        """Mappings that left the book by any removal: one by one, in a batch, by a range."""
    @property
    def upgrade_count(self) -> int:
        """Read-only mappings made writable in place."""
    @property
    def replaced_count(self) -> int:
        """Mappings that left the book because a new mapping took all of their range."""
    @property
    def split_count(self) -> int:
        """Mappings that there are more because one was cut in the middle."""
    @property
    def swept_count(self) -> int:
        """Mappings taken away by `reset` and `drain_all`."""
    @property
    def leaked_count(self) -> int:
        """Mappings that the guest would not give up at drain. Their host memory stays for the life of the process."""
    @property
    def lost_count(self) -> int:
        """Mappings that the guest lost by a change that failed, or of which it is unknown whether it lost them."""
    @property
    def live_mappings(self) -> int:
        """Mappings that are live."""
    @property
    def live_bytes(self) -> int:
        """Bytes of the mappings that are live."""
    @property
    def peak_mappings(self) -> int:
        """The most mappings that were ever live at once."""
    @property
    def errors(self) -> dict[int, int]:
        """Failures by errno, without those that never happened."""
    @property
    def errors_by_name(self) -> dict[str, int]:
        """The same by the names of `errno.errorcode`; a number that has none is its own name."""
    def as_dict(self) -> dict[str, int | dict[int, int]]:
        """All counters by name, plain data for a metrics exporter: `DaxStats(**stats.as_dict()) == stats`."""
    def __eq__(self, value: object, /) -> bool: ...
    def _repr_html_(self) -> str:
        """A table of the counters, for notebooks."""

@final
class HostWindowBackend:
    """A window of host addresses that the VMM gives to a memory slot of its own.

    The mapper reserves as many addresses as the window has bytes, at a multiple of 2 MiB, and maps files there. Give
    `mapper.host_address` and `mapper.size` to `KVM_SET_USER_MEMORY_REGION`. The reservation outlives the mapper: as
    long as a slot points there, freed addresses would show the guest whatever lands there. One backend serves one
    mapper. Thread-safe.

    A context manager: leaving it is `release`, and in a forked child nothing. Where an exception leaves it before the
    mapper is drained, the addresses stay reserved.

    Raises:
        OSError: ENOMEM, if the process cannot watch its forks.
    """

    def __new__(cls) -> Self: ...
    def release(self) -> None:
        """Free the addresses: the VMM has removed the slot, or the VM is gone. Again, it does nothing.

        A backend dropped without it keeps its addresses reserved for the life of the process, with a ResourceWarning.

        Raises:
            OSError: EBUSY before the mapper is drained; EPERM in a forked child; EIO if memory of others may lie in
                the window (see the log), else what munmap(2) said.
        """
    def __enter__(self) -> Self: ...
    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...

@final
class KvmBackend:
    """A window of host addresses and the KVM memory slot that shows it to the guest.

    The mapper puts the slot in when it is made and deletes it when it is drained; only then are the addresses freed.
    Under a mapper made with `readonly` the slot is KVM_MEM_READONLY, where KVM has KVM_CAP_READONLY_MEM: every store of
    the guest's to the window is an MMIO exit then. `vm_fd` is duplicated, so the VM lives until the mapper is drained.
    One backend serves one mapper. Thread-safe.

    A context manager, as all backends are; there is nothing left to do on leaving it.

    Args:
        vm_fd: The VM, from KVM_CREATE_VM: an int or an object with `fileno()`.
        slot: A slot number that the VM does not use, below KVM_CAP_NR_MEMSLOTS, with the address space in bits 16 to 31
            (Documentation/virt/kvm/api.rst, KVM_SET_USER_MEMORY_REGION).

    Raises:
        ValueError: KVM says that the VM has no such slot, or no such address space.
        OSError: EBADF, EMFILE: `vm_fd` cannot be duplicated. ENOMEM: the process cannot watch its forks.
    """

    def __new__(cls, vm_fd: FileDescriptorLike, slot: int) -> Self: ...
    def start_dirty_log(self) -> None:
        """Have KVM log which pages of the window the guest stores to (KVM_MEM_LOG_DIRTY_PAGES).

        For a VMM that starts the log of all slots when a migration begins. KVM_GET_DIRTY_LOG of the slot tells the
        pages (Documentation/virt/kvm/api.rst, 4.8); daxmap does not read it. Before the mapper is made, it holds for
        the slot that the mapper puts in. Later it is one KVM_SET_USER_MEMORY_REGION, which the guest does not notice,
        and mappings may come and go meanwhile. Again, it does nothing.

        Raises:
            OSError: ENODEV: the mapper is closed, and the slot with it. EPERM: in a forked child. Else what KVM said,
                such as ENOMEM: nothing has changed then.
        """
    def stop_dirty_log(self) -> None:
        """Have KVM keep no log any more; what was in it is lost. Whenever `start_dirty_log` may be called.

        Raises:
            OSError: As for `start_dirty_log`.
        """
    def __enter__(self) -> Self: ...
    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...

@final
class HypervisorBackend:
    """A hypervisor that is a Python object: host files are mapped anywhere, then shown to the guest by `map`.

    The host side is always readable and writable, since some hypervisors want that. What a guest may only read is
    private memory if the file may not be written anyway, so that nothing ever reaches the file; else it is shared, so
    that a later upgrade is one `protect`. What a guest can read it can execute: FUSE carries no execute flag. One
    backend serves one mapper; a hypervisor may serve many.

    Args:
        hypervisor: See `daxmap.protocols.Hypervisor`.

    Raises:
        TypeError: It lacks `map` or `unmap`, one of its methods cannot be called or is a coroutine function, or it is a
            class.
    """

    def __new__(cls, hypervisor: Hypervisor) -> Self: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...

@final
class HvfBackend:
    """The VM of this process under Apple's Hypervisor.framework: mmap(2), then hv_vm_map.

    The VM must exist when a mapping is set up, and must not be destroyed before the mapper is drained: calls on a
    destroyed VM are undefined. Memory and access are those of `HypervisorBackend`. What the framework refuses is an
    OSError of EIO that names its return code. One backend serves one mapper; a process has one VM.

    Args:
        framework: Path of the library. Another of the same ABI can stand in for the framework.

    Raises:
        OSError: ENOTSUP if the library cannot be loaded: this is no Mac.
    """

    def __new__(cls, *, framework: StrPath = ...) -> Self: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...

@final
class DaxMapper:
    """The mappings of one share's DAX window, visible to one guest through a backend.

    Every method may be called from many threads. Leaving it as a context manager drains it. A mapper dropped without
    that drains itself, with a ResourceWarning. Wrong types are TypeErrors, ints outside 64 bits OverflowErrors, and
    what a `fileno()` raises passes through. An OSError leaves mapper, host and guest as they were, unless it says
    otherwise. In a callback of the mapper itself, every method that would use the window raises EDEADLK.

    In a forked child, such a method raises EPERM, and leaving the context manager does nothing. If a callback forks,
    the call ends with EPERM in the child, and makes no further callback there.

    A KeyboardInterrupt, and all else that is no Exception, passes through from a callback or a handler of log records,
    once mapper and guest agree. A call that waits for another thread's call of this mapper ends if a signal handler
    raises, which Python runs on the main thread: it has done nothing then. When the interpreter exits, callbacks on
    other threads get a second to end, then a SystemExit; no further ones are made there, and such a call is SystemExit.

    Args:
        base: Guest physical address of the window, a multiple of `page_size`.
        size: Its size, a multiple of `page_size`, not 0: in bytes, or as text such as "128MiB".
        backend: How the guest is shown memory. One of daxmap's serves this mapper alone. The VMM's own object is one if
            it has the methods of `daxmap.protocols.Backend`.
        readonly: Refuse writable mappings.
        max_mappings: Live mappings allowed at once. None: the VMAs that they may cost, two each at most, are
            charged to a budget that all mappers of the process share, half of vm.max_map_count.
        prefault: Bring a read-only mapping's pages in when it is set up (MADV_POPULATE_READ), with the mapper's lock
            held. It pays where most of a range will be read at once; a single touch costs several times more. Never
            done for writable mappings; host windows only.
        name: Of the share, for `repr`, log records and errors.

    Raises:
        TypeError: The backend lacks a method, has one that cannot be called or is a coroutine function, or is a class.
        ValueError: A value that no host would take, or a backend that serves another mapper.
        OSError: The host refused: ENOMEM (no addresses), or what KVM_SET_USER_MEMORY_REGION said.
    """

    def __new__(
        cls,
        base: int,
        size: int | str,
        backend: HostWindowBackend | KvmBackend | HypervisorBackend | HvfBackend | Backend,
        *,
        readonly: bool = False,
        max_mappings: int | None = None,
        prefault: bool = False,
        name: str = "",
    ) -> Self: ...
    @classmethod
    def for_share(
        cls,
        share: Share,
        backend: HostWindowBackend | KvmBackend | HypervisorBackend | HvfBackend | Backend,
        *,
        max_mappings: int | None = None,
        prefault: bool = False,
    ) -> Self:
        """The mapper of a share of a `WindowLayout`: its base, its size, its read-only switch, and its tag as the name.

        Args:
            share: One of `WindowLayout.shares`.
            backend: As for the class.
            max_mappings: As for the class.
            prefault: As for the class.

        Raises:
            TypeError: `share` is no share; and as for the class.
            ValueError: As for the class.
            OSError: As for the class.
        """
    def setup_mapping(
        self,
        fd: FileDescriptorLike,
        file_offset: int,
        window_offset: int,
        length: int,
        writable: bool,
        *,
        replace: bool = False,
    ) -> None:
        """Make a range of the window show a range of a file: FUSE_SETUPMAPPING.

        The file may end inside the range: its pages appear when it grows. If the range is exactly that of a live
        read-only mapping of the same file and file offset, and `writable` is wanted, that mapping becomes writable in
        place, and the guest finds it there at every moment.

        Args:
            fd: The file, open for reading, and for writing if `writable`. It has to stay open only during the call.
            file_offset: Start of the range in the file, in bytes, a multiple of `page_size`.
            window_offset: Start of the range in the window, in bytes, a multiple of `page_size`.
            length: Length in bytes, a multiple of `page_size`, not 0.
            writable: Whether the guest may store to the range.
            replace: Take the place of whatever is mapped in the range (VIRTIO 1.3, file system device, "DAX Window"):
                a mapping that lies in it goes, one that reaches out of it is cut, and its pieces go on showing what
                they showed. In a host window that is one system call, so a guest that looks meanwhile finds the old
                or the new. Under a hypervisor the old mappings are gone for a moment.

        Raises:
            OSError: In this order: ENODEV (drained), EPERM (forked child), EINVAL (not aligned, empty, outside the
                window, past 2**63 - 1 in the file), EROFS (read-only mapper), EBADF (`fd` is not open), ENODEV (not a
                regular file, or one of hugetlbfs), EEXIST (overlaps a live mapping, without `replace`), EBUSY (what is
                there, or was, is lent by `resolve`), ENOSPC (over the budget), what mmap(2) said (EACCES: `fd` is not
                open for this access), EIO (the guest could not be shown it; or the change failed on its way, and so did
                the way back: what was lost is counted in `lost_count`).
        """
    def map_file(
        self, file: FileDescriptorLike, window_offset: int = 0, writable: bool = False, *, replace: bool = False
    ) -> int:
        """Make the window show a whole file, from `window_offset` on: its length, rounded up to pages.

        What the file grows by later is not shown.

        Args:
            file: The file, as `fd` of `setup_mapping`.
            window_offset: Where it starts in the window, in bytes, a multiple of `page_size`.
            writable: Whether the guest may store to it.
            replace: As for `setup_mapping`.

        Returns:
            The length of the mapping in bytes: what `remove_mapping` wants.

        Raises:
            OSError: As `setup_mapping`, and EINVAL for an empty file.
        """
    def remove_mapping(self, window_offset: int, length: int) -> None:
        """Remove one mapping: FUSE_REMOVEMAPPING with one entry.

        Args:
            window_offset: Where the mapping starts, in bytes.
            length: Its length in bytes.

        Raises:
            OSError: In this order: ENODEV (drained), EPERM (forked child), ENOENT (no mapping starts there), EINVAL
                (its length is another), EBUSY (lent by `resolve`), EIO (the guest still has it, and it is kept; or it
                is unknown whether it has, and then it is counted in `lost_count`, and asked for again by the next call
                that touches the range).
        """
    def remove_range(self, window_offset: int, length: int) -> None:
        """Have a range show nothing, whatever lies in it: what FUSE_REMOVEMAPPING means on the wire.

        Mappings in the range go, and those that reach out of it are cut: the pieces go on showing what they showed. In
        a host window that is one system call. Where nothing is mapped, that is a success. One mapping that the guest
        will not give up does not keep the others.

        Args:
            window_offset: Start of the range, in bytes, a multiple of `page_size`.
            length: Length in bytes, a multiple of `page_size`, not 0.

        Raises:
            OSError: In this order: ENODEV (drained), EPERM (forked child), EINVAL (not aligned, empty, outside the
                window), EBUSY (lent by `resolve`), ENOSPC (a cut in the middle makes two mappings of one, and the
                budget is used up), EIO (as `remove_mapping`).
        """
    def refresh(self, fd: FileDescriptorLike) -> int:
        """Map every live mapping of a file again, in place, from this descriptor.

        For a file that became another one underneath, with the same `st_dev` and `st_ino`: on overlayfs the first open
        for writing copies a file up, and mappings made before go on showing the lower file, so that appended bytes
        never come. Call it when such a file is first opened for writing.

        Args:
            fd: The file, open for reading, and for writing if one of its mappings is writable.

        Returns:
            How many mappings there were.

        Raises:
            OSError: In this order: ENODEV (drained), EPERM (forked child), EBADF (`fd` is not open), ENODEV (not a
                regular file); each mapping is tried, and the first failure raised: what
                mmap(2) said, or EIO.
        """
    def remove_mappings(self, mappings: Iterable[tuple[int, int] | MappingInfo]) -> RemoveResult:
        """Remove many mappings: FUSE_REMOVEMAPPING. Neighbours go in one system call.

        Each entry is tried, whatever becomes of the others, and what becomes of it is what `remove_mapping` would do,
        one by one, in the order given.

        Args:
            mappings: Pairs of window offset and length, in bytes; or what iterating over the mapper gives.

        Raises:
            OSError: ENODEV (drained), EPERM (forked child). Failures of entries are in the result instead.
        """
    def reset(self) -> None:
        """Remove every mapping and stay usable: FUSE_DESTROY, a device's reset, a guest's reboot.

        What the guest would not give up stays live, and is logged.

        Raises:
            OSError: ENODEV (drained), EPERM (forked child).
        """
    def drain_all(self) -> None:
        """Remove every mapping, from the guest first, and close the mapper for good.

        Call it while the VM still exists. Afterwards nothing calls the hypervisor any more. What the guest would not
        give up keeps its host memory for the life of the process (`leaked_count`), and is logged. Again, it does
        nothing.

        Raises:
            OSError: EPERM in a forked child; EDEADLK in a callback of this mapper.
        """
    def close(self) -> None:
        """The same as `drain_all`."""
    def lookup(self, window_offset: int) -> MappingInfo | None:
        """The mapping that holds the byte at `window_offset`, if any does.

        Raises:
            OSError: EPERM in a forked child.
        """
    def read(self, guest_address: int, length: int) -> bytes:
        """Copy bytes out of the window, for the VMM's own use. Never a SIGBUS, never a SIGSEGV.

        Args:
            guest_address: Guest physical address of the first byte, of any alignment.
            length: Number of bytes.

        Raises:
            OSError: ENODEV (drained), EPERM (forked child), EFAULT (an address outside the window, a hole, a page past
                the end of its file, or one that the host could not supply: disk full, quota, I/O error, FUSE server
                gone; the message says which), ENOMEM (no memory for `length` bytes), ENOTSUP (the backend is a Python
                object, which knows no host addresses), EPERM or ENOSYS (a sandbox lets no copy be made, neither by
                process_vm_readv(2) nor by /proc/self/mem).
            MemoryError: No memory for `length` bytes.
        """
    def write(self, guest_address: int, data: ReadableBuffer) -> None:
        """Copy bytes into the window, and so into the files. Never a SIGBUS, never a SIGSEGV.

        The range is checked first; bytes before a page that the host does not have may be written all the same.

        Args:
            guest_address: Guest physical address of the first byte, of any alignment.
            data: The bytes, copied before anything else.

        Raises:
            OSError: As `read`, and EACCES if a mapping is read-only.
        """
    def resolve(
        self, guest_address: int, length: int, *, writable: bool
    ) -> AbstractContextManager[list[tuple[int, int]]]:
        """Lend memory of the window to a device of the VMM: a guest's buffer may lie there.

        `with mapper.resolve(address, length, writable=True) as pieces` gives `[(host_address, length), ...]`, in the
        guest's order. While the block runs, the mappings that hold the range can't be removed, replaced or made
        writable, nor can anything be mapped there: that is EBUSY, for the guest's own requests too. So keep blocks
        short: a Linux guest removes no range that a device works on, but a store of its own may ask for an upgrade.
        `reset` and `drain_all` take the range from the guest all the same, and from a host window, where a system call
        on it is EFAULT then; but the addresses stay reserved until the block ends, so that nobody else's memory is
        ever found there.

        Give the addresses to system calls: preadv(2), pwritev(2), io_uring. Where the host has no page, past the end
        of a file say, those are EFAULT, and a plain load or store is a SIGBUS. Store nothing unless `writable`.

        Args:
            guest_address: Guest physical address of the first byte, of any alignment.
            length: Number of bytes.
            writable: Whether the device stores there.

        Raises:
            OSError: On entering the block: ENODEV (drained), EPERM (forked child), EFAULT (an address outside the
                window, or a hole), EACCES (`writable`, and a mapping is read-only), ENOTSUP (the backend is a Python
                object, which knows no host addresses), ENOSPC (over the budget, where a loan counts like the mappings
                that it keeps).
            RuntimeError: On entering the block a second time, while it runs.
        """
    def explain(self, guest_address: int) -> str:
        """Say in a line what the guest finds at an address, and so why an access there was refused.

        That it is outside the window, a hole and what lies around it, a read-only mapping, past the end of a file, a
        page that the host could not supply, or nothing that would refuse it; and which byte of which file it is. For
        the person whose KVM_RUN said EFAULT, or whose guest's access was an MMIO exit. Works on a closed mapper, too.

        Args:
            guest_address: Guest physical address, any number of 64 bits.

        Raises:
            OSError: EPERM in a forked child.
        """
    def export_state(self) -> dict[str, Any]:
        """The live mappings as plain data that JSON and pickle can carry: for a snapshot of the guest.

        A guest restored from a snapshot does not send its FUSE_SETUPMAPPING requests again: it goes on reading its
        window. The data hold where the window is, and of each mapping its range, its file's identity (`st_dev`,
        `st_ino`), file offset and access. Stop the guest first.

        Raises:
            OSError: ENODEV (drained), EPERM (forked child).
        """
    def restore_state(self, data: Mapping[str, Any], opener: Opener) -> None:
        """Set the mappings of an exported state up again, all or none, on a mapper that has none.

        Nobody else may use the mapper meanwhile.

        Args:
            data: What `export_state` gave, in this process or another.
            opener: Opens a file: see `daxmap.protocols.Opener`. It is called once for each.

        Raises:
            TypeError: `data` has not the form of a state.
            ValueError: `data` is of another version, or of a window at another address or of another size.
            OSError: ENOTEMPTY (there are mappings), ESTALE (the opener gave another file); and what `setup_mapping` or
                the opener raises. There are no mappings then.
        """
    def render(self, *, width: int | None = None) -> str:
        """The window as a picture in text: see `daxmap.picture`.

        Args:
            width: Columns to fill, brought to 60 at least and 100 at most; None for those of the terminal.

        Raises:
            OSError: EPERM in a forked child.
        """
    def to_svg(self) -> str:
        """The window as a picture, an SVG document that needs nothing else.

        Raises:
            OSError: EPERM in a forked child.
        """
    def _repr_html_(self) -> str:
        """The picture, for notebooks."""
    def _survey(self) -> list[tuple[MappingInfo, str | None, int | None, list[int]]]:
        """The live mappings and what the host has of them: path, file size, resident bytes for each 2 MiB.

        Looked at one by one, so a mapping that changes meanwhile is left out.
        """
    def stats(self) -> DaxStats:
        """The counters. Takes no lock."""
    @property
    def closed(self) -> bool:
        """Whether the mapper was drained."""
    @property
    def page_size(self) -> int:
        """The host's page size in bytes: the unit of offsets and lengths."""
    @property
    def host_address(self) -> int | None:
        """Where the window lies in this process, or None if the backend has no such range."""
    @property
    def base(self) -> int:
        """Guest physical address of the window."""
    @property
    def size(self) -> int:
        """Size of the window in bytes."""
    @property
    def name(self) -> str:
        """The name it was made with, its share's tag mostly; empty if it has none."""
    @property
    def readonly(self) -> bool:
        """Whether writable mappings are refused."""
    def __bool__(self) -> bool:
        """True, live mappings or none."""
    def __len__(self) -> int:
        """The number of live mappings. Takes no lock."""
    def __iter__(self) -> Iterator[MappingInfo]:
        """The live mappings by rising window offset, as they are at this moment.

        Raises:
            OSError: EPERM in a forked child.
        """
    def __del__(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...

@disjoint_base
class _Dispatcher:
    """What every request passes: the base of `daxmap.DaxDispatcher`, which describes it."""

    def __new__(cls, mapper: Mapper | None, resolver: Resolver, dax: str, min_size: int) -> Self: ...
    def handle(self, request: ReadableBuffer) -> bytes | None:
        """Reply to a whole FUSE request, header included, if it is DAX's: SETUPMAPPING or REMOVEMAPPING.

        SETUPMAPPING replaces what its range showed before, as VIRTIO demands. REMOVEMAPPING empties its ranges, and one
        that shows nothing is no error. INIT and DESTROY are to pass through here too: what is mapped then is removed,
        since the guest that starts, or leaves, knows nothing of it. A buffer is copied before it is looked at, so it
        may be guest memory.

        Args:
            request: The request in one buffer. Whatever a guest has put there is no exception: a request that breaks
                the format is told EINVAL, and nothing is mapped or removed.

        Returns:
            The whole reply, 16 bytes: put that length into the used ring. The error in it is a Linux errno on any host,
            from 1 to 511, and for SETUPMAPPING none that would set the guest going in circles
            (docs/how-to/own-dispatcher.md). None if the request is not DAX's: then the VMM's own dispatcher replies, to
            INIT and DESTROY too.

        Raises:
            TypeError: `request` is no buffer.
            BaseException: What resolver or mapper raised, if it is no Exception: KeyboardInterrupt and the like. For
                their Exceptions the guest is told an errno: that of an OSError; of any other EIO, and the traceback is
                logged. On all but the last thread, SystemExit while the interpreter exits.
        """
    def negotiate(self, init_request: ReadableBuffer, init_reply: ReadableBuffer) -> bytes:
        """Put the DAX part into the VMM's own reply to INIT: flags that the guest offered, and `map_alignment`.

        The reply keeps its length, and everything else that is in it. It comes back as it is if the guest offered no
        DAX, the share has none, or it ends before `map_alignment`; and for a request that is no INIT, so that every
        reply may be passed through. Never raises for what a guest may have sent.

        Args:
            init_request: The guest's whole request, header included.
            init_reply: The VMM's whole reply, header included.

        Returns:
            The whole reply for the guest.

        Raises:
            TypeError: One of them is no buffer.
            ValueError: The request is an INIT, and the reply breaks a rule of Linux 7.1 and later
                (`virtio_fs_verify_response`), so that the guest would take it for EIO: its header has its length and
                the request's `unique`; `error` is in (-512, 0]; and with an error it has 16 bytes.
        """
    def _attr_flags(self, mode: int, size: int) -> int:
        """FUSE_ATTR_DAX for a file with this `st_mode` and `st_size` that the guest should map, else 0."""
    def _offer(self) -> tuple[Literal["waiting", "not offered", "offered"], str]:
        """What the last INIT that was negotiated came to, and why."""
    def _setup_counts(self) -> tuple[int, dict[int, int], str | None]:
        """Of SETUPMAPPING requests since the last INIT: successes, refusals by Linux errno, and the last warning."""

@final
class _Device:
    """A directory as a virtiofs device, at a socket: what `daxmap serve` runs. Linux only."""

    def __new__(
        cls,
        directory: StrPath,
        socket: StrPath,
        tag: str,
        window: int | None,
        threads: int,
        readonly: bool,
        dax: str,
        min_size: int,
        owner: str,
        cache: str,
        confined: bool,
    ) -> Self:
        """Listen at the socket. Whoever connects waits.

        The soft limit of descriptors becomes the hard one. With `confined` the calling thread, and those that are
        started later, give up for good what they don't need: they reach files in the directory only.

        Args:
            directory: What the guest sees.
            socket: Where front ends find the device.
            tag: What the guest mounts it by, 1 to 36 bytes.
            window: Size of the window in bytes, a power of two from 2 MiB on; None for no window.
            threads: Request queues, each with a thread: 1 to 63.
            readonly: Refuse whatever would change a file.
            dax: "always", "inode" or "never".
            min_size: With "inode": files of fewer bytes are not marked.
            owner: "guest" or "host".
            cache: "auto", "always" or "never".
            confined: Whether to give up what is not needed.

        Raises:
            ValueError: A value is none of its values.
            OSError: ENOTDIR, ENOENT, EACCES and the like of the directory; EADDRINUSE, ENAMETOOLONG, ENOTSOCK and the
                like of the socket; EPERM for owner="guest" without the right to act as other users; ENOTSUP where there
                is no Linux. Nothing is left behind.
        """
    def start(self, once: bool) -> None:
        """Serve the front ends that connect, one after another, in threads of its own.

        Args:
            once: Serve the first only.

        Raises:
            ValueError: It was started before, or closed.
            OSError: There can be no thread.
        """
    def stop(self) -> None:
        """Let go of the front end, and serve no other. `ended` says when that is done."""
    def close(self) -> None:
        """Stop, and remove the socket."""
    def fileno(self) -> int:
        """A descriptor that is readable when there are notices, or when the service has ended."""
    def notices(self) -> list[str]:
        """Lines for the person who runs the service, since this was last asked."""
    @property
    def ended(self) -> bool:
        """Whether nobody is served any more."""
    @property
    def front_end(self) -> Literal["none", "connected", "gone"]:
        """What there is of a front end."""
    @property
    def confinement(self) -> tuple[list[str], list[str]]:
        """What is in force of the confinement, and what could not be had."""
    @property
    def without_dax(self) -> str | None:
        """Why there is no DAX, whatever the guest does; None where there may be."""
    def stats(self) -> DaxStats:
        """The counters of the window's mappings."""
    def _offer(self) -> tuple[Literal["waiting", "not offered", "offered"], str]:
        """What the last INIT came to, and that in words."""
    def _setup_counts(self) -> tuple[int, dict[int, int], str | None]:
        """Of SETUPMAPPING requests since the last INIT: successes, refusals by Linux errno, and the last warning."""

@disjoint_base
class _FileServer:
    """Answers every request of one directory: the base of `daxmap.FileServer`, which describes it."""

    def __new__(
        cls,
        directory: StrPath,
        mapper: DaxMapper | None,
        readonly: bool,
        dax: str,
        min_size: int,
        owner: str,
        cache: str,
        max_open: int | None,
    ) -> Self: ...
    def answer(self, request: ReadableBuffer) -> bytes | None:
        """Answer a whole FUSE request, header included.

        Args:
            request: The request in one buffer; it is copied before it is looked at, so it may be guest memory. Whatever
                a guest has put there is no exception: a request that breaks the format is answered EINVAL.

        Returns:
            The whole reply: put its length into the used ring. None where there is none: FORGET and the like, and what
            is too short to be a request.

        Raises:
            TypeError: `request` is no buffer.
            BaseException: What a Python backend of the mapper raised, if it is no Exception: KeyboardInterrupt and the
                like.
        """
    def answer_into(
        self, readable_buffers: Sequence[ReadableBuffer], writable_buffers: Sequence[WriteableBuffer]
    ) -> int:
        """Answer a request that lies in guest memory, into guest memory: as a virtqueue has it.

        What READ and WRITE move is copied once, by the kernel. No byte is read twice.

        Args:
            readable_buffers: The request, in as many pieces as the descriptor chain has that the device reads.
            writable_buffers: Where the reply goes, in order: the pieces that the device writes.

        Returns:
            How many bytes of the reply were written, from the start of the first buffer on: the used length. 0 where
            there is no reply, and where there is no room for as much as an error, 16 bytes.

        Raises:
            TypeError: One of them is no buffer.
            BufferError: One is not contiguous, or one for the reply is read-only.
            BaseException: As `answer`.
        """
    @property
    def directory(self) -> Path:
        """The directory, as it was given."""
    @property
    def mapper(self) -> DaxMapper | None:
        """The share's mapper."""
    @property
    def readonly(self) -> bool:
        """Whether it refuses whatever would change a file."""
    def _offer(self) -> tuple[Literal["waiting", "not offered", "offered"], str]:
        """What the last INIT came to, before any SETUPMAPPING."""
    def _setup_counts(self) -> tuple[int, dict[int, int], str | None]:
        """Of SETUPMAPPING requests since the last INIT: successes, refusals by Linux errno, and the last warning."""
