"""What a VMM's own classes look like to daxmap: typing Protocols, checked by mypy, needed by nobody at run time."""

from enum import IntFlag
from typing import Protocol

__all__ = ["Access", "Backend", "Hypervisor", "Mapper", "OpenFile", "Opener", "Resolver"]


class Access(IntFlag):
    """What a guest may do with memory: the bits of hv_memory_flags_t in Hypervisor.framework."""

    READ = 1
    WRITE = 2
    EXEC = 4


class Hypervisor(Protocol):
    """A hypervisor as `HypervisorBackend` uses it: it shows host memory to a guest.

    Each call is one step. Returning None or 0 means that it was done. Raising an exception, or returning anything
    else, means that it was not: the operation fails with EIO, and the exception is its `__cause__`. Calls come one at a
    time for each mapper, from any thread, under the mapper's lock: one that calls its own mapper gets EDEADLK. It must
    not call another mapper whose callbacks may call this one: two threads would wait for each other, until a signal
    handler ends the wait of one, if that is the main thread. Nor may it wait for a thread that calls this mapper.

    A call that raised may have done its work before. So after a `map` that raised, `unmap` is called (which is to
    succeed where there is nothing to unmap), after a `protect` that raised, `protect` with the old access, and an
    `unmap` that raised is asked for once more. If that is refused too, it is unknown what the guest sees: the mapping
    counts as lost, its memory stays mapped, and the next call that touches the range asks for the `unmap` again. On a
    setup, `map` is then called whatever `unmap` said, and when it succeeds the old memory is freed.

    A mapping that another one takes a part of is unmapped whole; then the new one and the remaining pieces are mapped,
    the pieces from the memory that they had.

    A hypervisor that can change the access of a range has a third method:
    `protect(guest_address: int, length: int, access: Access) -> int | None`. Without it, a guest loses a range for a
    moment while it is made writable.
    """

    def map(self, host_address: int, guest_address: int, length: int, access: Access, /) -> int | None:
        """Show `[host_address, +length)` of this process to the guest at `guest_address`, unused as far as is known.

        Args:
            host_address: Start of the memory, a multiple of the page size. It stays valid until `unmap`, or another
                `map` in its place, has succeeded.
            guest_address: Guest physical address, a multiple of the page size.
            length: Bytes, a multiple of the page size.
            access: READ and EXEC, and WRITE if the guest may store.
        """

    def unmap(self, guest_address: int, length: int, /) -> int | None:
        """Take `[guest_address, +length)` from the guest, which is what one `map` gave it.

        The memory behind it is freed when this returns: no CPU of the guest may still reach it then.
        """


class Backend(Protocol):
    """A whole backend that is a Python object: the VMM does the mapping itself.

    Outcomes and threads are as for `Hypervisor`, but an OSError keeps its errno. A third method is called for upgrades
    if it is there: `protect(fd: int, window_offset: int, length: int, writable: bool) -> int | None`. Without it, an
    upgrade is `unmap` and `map`. The pieces of a mapping that is cut come as new `map` calls, with a descriptor that
    the mapper keeps for each file and access as long as a mapping shows the file: so no other file gets its inode
    number.
    """

    def map(
        self,
        fd: int,
        file_offset: int,
        window_offset: int,
        length: int,
        writable: bool,  # noqa: FBT001  # called from Rust, by position
        /,
    ) -> int | None:
        """Show `[file_offset, +length)` of a file at `window_offset` of the window, unused so far.

        Args:
            fd: A regular file, open during the call only. Whether it may be read, or written if `writable`, is for
                this method to find out: mmap(2) says EACCES.
            file_offset: Bytes, a multiple of the page size.
            window_offset: Bytes, a multiple of the page size.
            length: Bytes, a multiple of the page size.
            writable: Whether the guest may store.
        """

    def unmap(self, window_offset: int, length: int, /) -> int | None:
        """Take `[window_offset, +length)` of the window from the guest, which is what one `map` gave it."""


class OpenFile(Protocol):
    """An open file that its receiver closes: `io.FileIO` and the like."""

    def fileno(self) -> int:
        """The file descriptor."""

    def close(self) -> object:
        """Close it."""


class Resolver(Protocol):
    """Opens the files that a guest's SETUPMAPPING requests speak of.

    Called from whichever threads call `DaxDispatcher.handle`, with no lock held.
    """

    def __call__(
        self,
        nodeid: int,
        fh: int | None,
        writable: bool,  # noqa: FBT001  # called from Rust, by position
        /,
    ) -> int | OpenFile:
        """Give the file of an inode.

        Args:
            nodeid: The inode, as the VMM's own replies to the guest number it. Everything else is the guest's.
            fh: The handle of an open file, as the VMM numbers it. None, as from a Linux guest: there is none, open the
                inode.
            writable: Whether the guest is going to store to the mapping. The file has to be open for writing then.

        Returns:
            A descriptor that the resolver owns and keeps open, or an object that is closed once the mapping stands.

        Raises:
            OSError: There is no such file, or the guest has no right to it. The guest is told the errno, or what stands
                for it (docs/how-to/own-dispatcher.md): EIO for EAGAIN and EINTR, ENOSPC for ENOMEM.
        """


class Opener(Protocol):
    """Opens the files of a state that is restored: see `DaxMapper.restore_state`. Called with no lock held."""

    def __call__(
        self,
        dev: int,
        ino: int,
        writable: bool,  # noqa: FBT001  # by position, as a resolver gets it
        /,
    ) -> int | OpenFile:
        """Give a file.

        Args:
            dev: Its `st_dev`, as it was when the state was exported.
            ino: Its `st_ino`. Another file than this one is refused with ESTALE.
            writable: Whether one of its mappings is writable: then it has to be open for reading and writing.

        Returns:
            A descriptor, which stays the opener's, or an object that is closed once the file's mappings stand.

        Raises:
            OSError: There is no such file: then nothing is restored.
        """


class Mapper(Protocol):
    """What a dispatcher asks of a mapper: a `DaxMapper`, or a VMM's own class, with offsets and lengths as there.

    Called from whichever threads call `DaxDispatcher.handle`. The guest is told the errno of an OSError that a method
    raises, or what stands for it (docs/how-to/own-dispatcher.md). If `len()` of the mapper gives the number of its
    mappings, it is not reset at a guest's start or end while it has none.
    """

    def setup_mapping(  # noqa: PLR0913  # `DaxMapper.setup_mapping`
        self,
        fd: int,
        file_offset: int,
        window_offset: int,
        length: int,
        writable: bool,  # noqa: FBT001  # called from Rust, by position
        /,
        *,
        replace: bool,
    ) -> object:
        """Make a range of the window show a range of a file.

        A dispatcher sets `replace`: whatever mappings the range overlaps, wholly or in part, give way to the new one,
        and what lies outside the range stays (VIRTIO 1.3, section 5.11.6). Of just that range of the same file, only
        the access changes.
        """

    def remove_range(self, window_offset: int, length: int, /) -> object:
        """Show nothing in a range, whatever mappings lie in it, wholly or in part. None is no error."""

    def reset(self) -> object:
        """Remove every mapping: the guest's INIT or DESTROY, or a REMOVEMAPPING of the whole window."""
