"""What is mapped, file by file, and the marks that tell in a picture whose a cell is."""

from collections import Counter
from dataclasses import dataclass
from itertools import compress

from daxmap.picture import words
from daxmap.picture.grid import Cell, Grid
from daxmap.picture.survey import CELL, Shown, Survey
from daxmap.sizes import rough_size

__all__ = ["File", "Listing", "facts", "listing"]

_HEADINGS = ("guest address", "file range", "access", "resident", "past end")

# Mappings that are listed: about as many as a screen takes. Each has a file at most, which has a letter.
_LISTED = 20
_LETTERS = "abcdefghijklmnopqrst"
_NOT_LISTED, _SEVERAL = "y", "z"
_DIGITS = 10
_MANY = "+"


@dataclass(frozen=True, slots=True)
class File:
    """A file and those of its mappings that are listed.

    Attributes:
        letter: What stands for it in a picture.
        label: Its path, or what else is known of it. A guest may have chosen it.
        shown: Its mappings that are listed, by rising window offset, at least one.
        total: How many mappings it has.
    """

    letter: str
    label: str
    shown: tuple[Shown, ...]
    total: int


@dataclass(frozen=True, slots=True)
class Listing:
    """The first mappings of a window, by file.

    Attributes:
        files: The files in the order in which they come in the window.
        more: How many mappings are not listed.
    """

    files: tuple[File, ...]
    more: int

    def marks(self, picture: Grid) -> dict[int, str]:
        """Whose the cells are that are no holes, by their addresses: one or two characters.

        A letter is that of the file that all mappings in a cell show, a capital if one of them is writable. A digit
        tells how many they are, if several: only where cells are as small as can be, in larger ones they mostly are.
        """
        letters = {file.shown[0].file: file.letter for file in self.files}
        return {
            cell.address: _letter(cell, letters) + (_digit(cell) if picture.cell == CELL else "")
            for cell in picture.cells()
            if cell.shown
        }

    def key(self, picture: Grid) -> str:
        """What the marks mean that a picture has; empty if it has none."""
        marks = "".join(self.marks(picture).values())
        if not marks:
            return ""
        meanings = ["the letter of its file"]
        if any(map(str.isupper, marks)):
            meanings.append("a capital if writable")
        if _NOT_LISTED in marks.lower():
            meanings.append(f"{_NOT_LISTED} a file not listed")
        if _SEVERAL in marks.lower():
            meanings.append(f"{_SEVERAL} several files")
        if any(map(str.isdigit, marks)):
            meanings.append("2 two mappings")
        if _MANY in marks:
            meanings.append(f"{_MANY} ten or more")
        return f"below a cell: {', '.join(meanings)}"


def listing(survey: Survey) -> Listing:
    """Lists what a window shows."""
    by_file: dict[tuple[int, int], list[Shown]] = {}
    for one in survey.shown[:_LISTED]:
        by_file.setdefault(one.file, []).append(one)
    totals = Counter(one.file for one in survey.shown)
    files = (
        File(letter, words.file_label(shown[0].path, *file), tuple(shown), totals[file])
        for letter, (file, shown) in zip(_LETTERS, by_file.items(), strict=False)
    )
    return Listing(tuple(files), max(0, len(survey.shown) - _LISTED))


def facts(survey: Survey, listed: Listing) -> tuple[tuple[str, ...], dict[Shown, tuple[str, ...]]]:
    """The listed mappings as the rows of a table: its headings, and a text under each of them.

    Without the columns in which there is nothing to be said of any of them.
    """
    rows = {shown: _facts(survey, shown) for file in listed.files for shown in file.shown}
    used = [any(texts) for texts in zip(*rows.values(), strict=True)]
    return tuple(compress(_HEADINGS, used)), {shown: tuple(compress(row, used)) for shown, row in rows.items()}


def _facts(survey: Survey, shown: Shown) -> tuple[str, ...]:
    tally = shown.tally(survey.page_size)
    return (
        words.address_range(survey.base + shown.window_offset, shown.length),
        words.address_range(shown.file_offset, shown.length),
        "writable" if shown.writable else "read-only",
        "" if tally.unknown else rough_size(tally.resident),
        rough_size(tally.past_end) if tally.past_end else "",
    )


def _letter(cell: Cell, letters: dict[tuple[int, int], str]) -> str:
    owner, *others = {one.file for one in cell.shown}
    letter = _SEVERAL if others else letters.get(owner, _NOT_LISTED)
    return letter.upper() if cell.writable.mapped else letter


def _digit(cell: Cell) -> str:
    number = len(cell.shown)
    return "" if number == 1 else str(number) if number < _DIGITS else _MANY
