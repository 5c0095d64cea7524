"""Text that others have chosen, tags and paths for two, in the columns of a terminal."""

import sys
import unicodedata
from collections.abc import Iterable

__all__ = ["align", "can_encode", "columns", "neutral", "output_encoding"]

_BETWEEN = "  "


def output_encoding() -> str:
    """What standard output is written in, one of Python's names; UTF-8 where there is none."""
    return getattr(sys.stdout, "encoding", None) or "utf-8"


def can_encode(text: str, encoding: str) -> bool:
    """Whether the encoding, one of Python's, has all of the text."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def neutral(text: str, encoding: str = "utf-8") -> str:
    r"""The text without what a terminal or a browser would obey, nor what the encoding lacks.

    Controls, line ends, marks of direction and lone surrogates (of bytes that are no UTF-8) become escapes as in
    Python's source, and so do backslashes: else a name could look like another one's escape. HTML needs more.

    >>> print(neutral("a\x1b[31m\n\u202eb\\"))
    a\x1b[31m\n\u202eb\\
    """
    return "".join(char if _is_harmless(char, encoding) else ascii(char)[1:-1] for char in text)


def columns(text: str) -> int:
    """An upper bound of the columns that a terminal needs for a neutral text. A combining mark counts as one."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def align(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Lines of neutral cells, each column as wide as its widest cell.

    >>> align([("share", "size"), ("日本", "2 MiB")])
    ['share  size ', '日本   2 MiB']
    """
    lines = list(rows)
    widths = [max(map(columns, column)) for column in zip(*lines, strict=True)]
    return [
        _BETWEEN.join(cell + " " * (width - columns(cell)) for cell, width in zip(line, widths, strict=True))
        for line in lines
    ]


def _is_harmless(char: str, encoding: str) -> bool:
    return char.isprintable() and char != "\\" and can_encode(char, encoding)
