"""The chart of docs/explanation/performance.md, drawn of the table there."""

import re

from daxmap.picture.shapes import image, rect, text

__all__ = ["drawing", "figures"]

_BEGIN = "<!-- chart: pictures/performance.svg -->"
_ROW = re.compile(r"^\| (?P<what>[^|]+) \| (?P<beside>[^|]+) \| (?P<ratio>[0-9.]+) \|$", re.MULTILINE)
# Pixels: the width, where bars begin, how long one of 1 is, where numbers are, how high a bar is, and to the next one.
_WIDTH, _LEFT, _ONE, _VALUES, _BAR, _PITCH = 640, 16, 500, 580, 18, 58


def figures(page: str) -> list[tuple[str, str, float]]:
    """The rows of the table: what was measured, beside what, and the ratio of their times."""
    table = page.partition(_BEGIN)[2].strip().partition("\n\n")[0]
    found = [(row["what"], row["beside"], float(row["ratio"])) for row in _ROW.finditer(table)]
    if not found:
        raise ValueError(f"the page has no table after {_BEGIN}")
    return found


def drawing(rows: list[tuple[str, str, float]]) -> str:
    """A bar for each row, with a mark at 1: as long as what it is measured beside."""
    bottom = 34 + _PITCH * len(rows)
    elements = [
        text(_LEFT + _ONE - 176, 20, "1 = as long as the other", size=15, kind="dim"),
    ]
    y = 34.0
    for what, beside, ratio in rows:
        elements += [
            rect(_LEFT, y, _ONE * ratio, _BAR, "ro-resident"),
            rect(_LEFT + _ONE - 1, y - 4, 2, _BAR + 8, "ink"),
            text(_VALUES, y + 14, f"{ratio:g}", size=16),
            text(_LEFT, y + _BAR + 17, f"{what}, beside {beside}", size=15),
        ]
        y += _PITCH
    return image("Time beside that of another way", "Bars of the table below.", _WIDTH, bottom + 8, elements)
