"""A window as rows of cells, few enough to be looked at."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter

from daxmap.picture.survey import CELL, Shown, Survey, Tally

__all__ = ["Cell", "Gap", "Grid", "Row", "grid"]

# Nobody looks at more lines of cells; cells are twice as large then.
_LINES = 16
# So many rows of holes, and more, are one line.
_GAP = 3


@dataclass(frozen=True, slots=True)
class Cell:
    """A piece of the window: a hole, or what the mappings in it show.

    Attributes:
        address: Guest physical address of its first byte.
        length: Its size in bytes; the last cell of a window may be smaller than the others.
        shown: The mappings that touch it, by rising window offset.
        readonly: The bytes in it of those that are read-only.
        writable: The bytes in it of the others.
    """

    address: int
    length: int
    shown: tuple[Shown, ...]
    readonly: Tally
    writable: Tally

    @property
    def tally(self) -> Tally:
        """The bytes in it of all mappings."""
        return self.readonly + self.writable


@dataclass(frozen=True, slots=True)
class Row:
    """Cells that lie one after another."""

    cells: tuple[Cell, ...]

    @property
    def address(self) -> int:
        """Guest physical address of the first cell."""
        return self.cells[0].address


@dataclass(frozen=True, slots=True)
class Gap:
    """Whole rows of holes, left out.

    Attributes:
        holes: How many cells they have.
    """

    holes: int


@dataclass(frozen=True, slots=True)
class Grid:
    """All of a window.

    Attributes:
        cell: Bytes that one cell stands for, a power of two.
        rows: The rows and gaps, by rising address.
    """

    cell: int
    rows: tuple[Row | Gap, ...]

    def cells(self) -> Iterator[Cell]:
        """The cells that are not left out, by rising address."""
        return (cell for row in self.rows if isinstance(row, Row) for cell in row.cells)


def grid(survey: Survey, per_row: int) -> Grid:
    """The window in the smallest cells that leave few enough rows.

    Args:
        survey: The window.
        per_row: Cells in a row, at least 1.
    """
    cell = CELL
    while _line_count(runs := _runs(survey, cell * per_row)) > _LINES:
        cell *= 2
    cells = -(-survey.size // cell)
    rows: list[Row | Gap] = []
    left_off = 0
    for run in runs:
        if run.start > left_off:
            rows.append(Gap(min(run.start * per_row, cells) - left_off * per_row))
        for first in range(run.start * per_row, run.stop * per_row, per_row):
            indices = range(first, min(first + per_row, cells))
            rows.append(Row(tuple(_cell(survey, cell, index) for index in indices)))
        left_off = run.stop
    return Grid(cell, tuple(rows))


def _runs(survey: Survey, row_size: int) -> list[range]:
    """The rows to be shown; all between two of these runs are left out. The first and the last may be empty."""
    count = -(-survey.size // row_size)
    touched = (range(shown.window_offset // row_size, -(-shown.end // row_size)) for shown in survey.shown)
    runs = [range(0)]
    for rows in (*touched, range(count, count)):
        if rows.start - runs[-1].stop < _GAP:
            runs[-1] = range(runs[-1].start, rows.stop)
        else:
            runs.append(rows)
    return runs


def _line_count(runs: list[range]) -> int:
    return sum(map(len, runs)) + len(runs) - 1


def _cell(survey: Survey, size: int, index: int) -> Cell:
    start = index * size
    end = min(start + size, survey.size)
    first = bisect_right(survey.shown, start, key=attrgetter("end"))
    shown = survey.shown[first : bisect_left(survey.shown, end, key=attrgetter("window_offset"))]
    readonly, writable = (
        sum((one.tally(survey.page_size, start, start + size) for one in shown if one.writable is access), Tally())
        for access in (False, True)
    )
    return Cell(survey.base + start, end - start, shown, readonly, writable)
