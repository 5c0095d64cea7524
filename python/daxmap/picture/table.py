"""The listing of a window as lines of text, in columns where there is room for them."""

from daxmap.picture import words
from daxmap.picture.listing import File, Listing, facts
from daxmap.picture.survey import Survey
from daxmap.textwidth import neutral

__all__ = ["table"]

_INDENT = "   "
_BETWEEN = "  "


def table(survey: Survey, listed: Listing, width: int, encoding: str = "utf-8") -> list[str]:
    """The lines, none of them wider than `width` columns, and all that they say can be encoded.

    Args:
        survey: The window.
        listed: What is listed of it.
        width: Columns, at least 60.
        encoding: Of the terminal or file.
    """
    if not listed.files:
        return []
    headings, rows = facts(survey, listed)
    lengths = [max(map(len, column)) for column in zip(headings, *rows.values(), strict=True)]
    aligned = len(_INDENT) + sum(lengths) + len(_BETWEEN) * (len(lengths) - 1) <= width

    def line(row: tuple[str, ...]) -> list[str]:
        if aligned:
            cells = (text.ljust(length) for text, length in zip(row, lengths, strict=True))
            return [(_INDENT + _BETWEEN.join(cells)).rstrip()]
        text = ", ".join(f"{heading} {text}" for heading, text in zip(headings, row, strict=True) if text)
        return words.wrap(text, width, _INDENT)

    lines = line(headings) if aligned else []
    for file in listed.files:
        lines.append(_title(file, width, encoding))
        for shown in file.shown:
            lines += line(rows[shown])
    if listed.more:
        lines.append(f"and {words.count(listed.more, 'more mapping')}")
    return lines


def _title(file: File, width: int, encoding: str) -> str:
    """Whose mappings follow. The path comes last: one in a script that runs to the left would drag text along."""
    start = f"{file.letter}  "
    if len(file.shown) < file.total:
        start += f"{len(file.shown)} of {words.count(file.total, 'mapping')} of "
    label = neutral(file.label, encoding)
    return start + words.shorten(label, width - len(start), words.ellipsis(encoding))
