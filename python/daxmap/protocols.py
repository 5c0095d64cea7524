"""What a VMM may plug in, as types. No base class is needed: any object that fits will do."""

from collections.abc import Sequence
from typing import Protocol

__all__ = ["Mapper", "OpenFile", "Removal", "Resolver"]


class OpenFile(Protocol):
    """An open file that whoever gets it closes: `io.FileIO` and the like."""

    def fileno(self) -> int:
        """The file descriptor."""

    def close(self) -> object:
        """Close it."""


class Resolver(Protocol):
    """Opens the files that a guest's SETUPMAPPING requests speak of.

    Called from whichever threads call `DaxDispatcher.handle`, with no lock held.
    """

    def __call__(self, nodeid: int, fh: int | None, writable: bool, /) -> int | OpenFile:  # noqa: FBT001
        """Give the file of an inode.

        Args:
            nodeid: The inode, as the VMM's own replies to the guest number it. Everything else is the guest's.
            fh: The handle of an open file, as the VMM numbers it. None, as from a Linux guest: there is none, open the
                inode.
            writable: Whether the guest is going to store to the mapping. The file has to be open for writing then.

        Returns:
            A descriptor that the resolver owns and keeps open, or an object that is closed once the mapping stands.

        Raises:
            OSError: There is no such file, or the guest has no right to it. The guest is told the errno.
        """


class Removal(Protocol):
    """What became of several removals. `daxmap.RemoveResult` is one."""

    @property
    def errno(self) -> int:
        """The errno of the first that failed, 0 if none did."""


class Mapper(Protocol):
    """What a dispatcher asks of a mapper; `daxmap.DaxMapper` is one, and all offsets and lengths are as there.

    Called from whichever threads call `DaxDispatcher.handle`. An OSError that a method raises is what the guest is
    told.
    """

    def setup_mapping(
        self,
        fd: int,
        file_offset: int,
        window_offset: int,
        length: int,
        writable: bool,  # noqa: FBT001
        /,
    ) -> object:
        """Make a range of the window show a range of a file, or make a read-only mapping of just that writable."""

    def remove_mappings(self, mappings: Sequence[tuple[int, int]], /) -> Removal:
        """Remove mappings, given by window offset and length: each one, whatever becomes of the others."""

    def reset(self) -> object:
        """Remove every mapping."""

    def __len__(self) -> int:
        """How many mappings there are."""
