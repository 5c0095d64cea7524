"""What the cells of a window look like as text: two characters each."""

from dataclasses import astuple, dataclass
from typing import Self

from daxmap.picture.grid import Cell, Grid, Row
from daxmap.textwidth import can_encode

__all__ = ["WIDTH", "Signs"]

WIDTH = 2


@dataclass(frozen=True, slots=True)
class Signs:
    """The characters that cells are made of.

    Attributes:
        resident: All that the file has there is in the page cache.
        more: At least half of it is.
        less: Less is.
        absent: None is.
        unknown: It is not known how much is.
        hole: Nothing is mapped.
        past_end: The file has no such page: who touches it gets SIGBUS, or an exit.
    """

    resident: str
    more: str
    less: str
    absent: str
    unknown: str
    hole: str
    past_end: str

    @classmethod
    def of(cls, encoding: str) -> Self:
        """Shades, or what is nearest to them in ASCII where the encoding lacks one."""
        shades, ascii_only = cls("█", "▓", "▒", "░", "=", "·", "!"), cls("#", "%", "+", "-", "=", ".", "!")
        return shades if can_encode("".join(astuple(shades)), encoding) else ascii_only

    def cell(self, cell: Cell) -> str:
        """How much of a cell is resident, and whether all of it is mapped, to a file that is long enough."""
        tally = cell.tally
        if tally.past_end == tally.mapped:
            return (self.past_end if tally.mapped else self.hole) * WIDTH
        level = self._level(cell)
        if tally.past_end:
            return level + self.past_end
        return level + (self.hole if tally.mapped < cell.length else level)

    def row(self, row: Row) -> str:
        """All cells of a row."""
        return "".join(map(self.cell, row.cells))

    def key(self, picture: Grid) -> str:
        """What those signs mean that a picture has; one of each kind."""
        used = list(dict.fromkeys(map(self.cell, picture.cells())))
        levels = {
            self.resident: "resident",
            self.more: "at least half",
            self.less: "less",
            self.absent: "not resident",
            self.unknown: "residency unknown",
        }
        meanings = [f"{level} {meaning}" for level, meaning in levels.items() if any(sign[0] == level for sign in used)]
        partly = {self.hole: "mapped in part", self.past_end: "in part past the end of a file"}
        for second, meaning in partly.items():
            meanings += [f"{sign} {meaning}" for sign in used if sign[1] == second != sign[0]][:1]
        wholly = {self.past_end: "past the end of a file", self.hole: "hole"}
        meanings += [f"{sign * WIDTH} {meaning}" for sign, meaning in wholly.items() if sign * WIDTH in used]
        return ", ".join(meanings)

    def _level(self, cell: Cell) -> str:
        tally = cell.tally
        if tally.unknown:
            return self.unknown
        if tally.absent == 0:
            return self.resident
        if tally.resident == 0:
            return self.absent
        return self.more if tally.resident >= tally.absent else self.less
