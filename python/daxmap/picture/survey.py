"""What a mapper's window shows at one moment: all that a picture is drawn of."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from daxmap import MappingInfo

__all__ = ["CELL", "Shown", "Survey", "Surveyed", "Tally"]

# Bytes of a cell, in which a survey counts: a Linux guest maps so much at a time (FUSE_DAX_SHIFT in fs/fuse/dax.c).
CELL = 2 << 20


class Surveyed(Protocol):
    """A `DaxMapper`, as far as a survey needs it."""

    @property
    def name(self) -> str:
        """Its share's tag mostly; may be empty."""

    @property
    def base(self) -> int:
        """Guest physical address of the window."""

    @property
    def size(self) -> int:
        """Size of the window in bytes."""

    @property
    def readonly(self) -> bool:
        """Whether writable mappings are refused."""

    @property
    def page_size(self) -> int:
        """The host's page size in bytes."""

    @property
    def closed(self) -> bool:
        """Whether it was drained."""

    def _survey(self) -> "list[tuple[MappingInfo, str | None, int | None, list[int]]]":
        """By rising window offset: a mapping, its file's path and size, and its resident bytes, cell by cell."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Bytes of mappings, by what is behind them. The last three are parts of the first, and do not overlap.

    Attributes:
        mapped: All of them.
        past_end: In pages that the file does not have.
        resident: In the host's page cache.
        unknown: In pages of the file of which it is not known whether they are in the page cache.
    """

    mapped: int = 0
    past_end: int = 0
    resident: int = 0
    unknown: int = 0

    @property
    def absent(self) -> int:
        """Bytes that the file has and the page cache has not."""
        return self.mapped - self.past_end - self.resident - self.unknown

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.mapped + other.mapped,
            self.past_end + other.past_end,
            self.resident + other.resident,
            self.unknown + other.unknown,
        )


@dataclass(frozen=True, slots=True)
class Shown:
    """One live mapping and its file.

    Attributes:
        window_offset: Where it starts in the window, in bytes.
        length: Its length in bytes.
        file_offset: Where it starts in the file, in bytes.
        writable: Whether the guest may store to it.
        dev: `st_dev` of the file.
        ino: `st_ino` of the file.
        path: Where the kernel finds the file now, with " (deleted)" at its end if it has no name any more; None if not
            known. A guest may have chosen it: it can hold any character but NUL.
        file_size: The file's size in bytes; None if not known.
        resident: For each cell of the window that the mapping touches, in order, how many bytes of it are in the host's
            page cache; empty if not known.
    """

    window_offset: int
    length: int
    file_offset: int
    writable: bool
    dev: int = 0
    ino: int = 0
    path: str | None = None
    file_size: int | None = None
    resident: tuple[int, ...] = ()

    @property
    def end(self) -> int:
        """The window offset just past it."""
        return self.window_offset + self.length

    @property
    def file(self) -> tuple[int, int]:
        """What tells its file from others."""
        return (self.dev, self.ino)

    def tally(self, page_size: int, start: int = 0, end: int | None = None) -> Tally:
        """Its bytes in a range of the window: all of them, or those of some whole cells.

        Args:
            page_size: The host's, in bytes: a file ends at the end of its last page.
            start: Window offset of the first cell.
            end: Window offset just past the last one; None for the end of the mapping.
        """
        first = max(self.window_offset, start)
        last = self.end if end is None else min(self.end, end)
        mapped = max(0, last - first)
        past_end = 0
        if self.file_size is not None:
            file_end = -(-self.file_size // page_size) * page_size
            past_end = min(mapped, max(0, self.file_offset + last - self.window_offset - file_end))
        if not self.resident:
            return Tally(mapped, past_end, unknown=mapped - past_end)
        origin = self.window_offset // CELL
        resident = sum(self.resident[first // CELL - origin : -(-last // CELL) - origin])
        # A file that was cut while the survey was made may have had more pages than it has.
        return Tally(mapped, past_end, min(resident, mapped - past_end))


@dataclass(frozen=True, slots=True)
class Survey:
    """A window and its live mappings, at one moment.

    Attributes:
        name: The mapper's; its share's tag mostly, and it may be empty.
        base: Guest physical address of the window.
        size: Its size in bytes.
        readonly: Whether writable mappings are refused.
        page_size: The host's page size in bytes.
        closed: Whether the mapper was drained.
        shown: The live mappings, by rising window offset.
    """

    name: str
    base: int
    size: int
    readonly: bool
    page_size: int
    closed: bool
    shown: tuple[Shown, ...]

    @classmethod
    def of(cls, mapper: Surveyed) -> Self:
        """The survey of a mapper.

        Raises:
            OSError: EPERM in a forked child.
        """
        shown = tuple(
            Shown(
                window_offset=info.window_offset,
                length=info.length,
                file_offset=info.file_offset,
                writable=info.writable,
                dev=info.dev,
                ino=info.ino,
                path=path,
                file_size=file_size,
                resident=tuple(resident),
            )
            for info, path, file_size, resident in mapper._survey()  # noqa: SLF001  # of a class in Rust
        )
        return cls(mapper.name, mapper.base, mapper.size, mapper.readonly, mapper.page_size, mapper.closed, shown)

    def tally(self) -> Tally:
        """The bytes of all mappings. A page that is mapped twice counts twice."""
        return sum((shown.tally(self.page_size) for shown in self.shown), Tally())
