"""What the drawings share beside the shapes that daxmap draws with itself: arrows and boxes with a label."""

from math import hypot

from daxmap.picture.shapes import rect, text

__all__ = ["arrow", "box", "centred"]

# Pixels: half the thickness of a line, the length of an arrow's head, and half its width.
_HALF, _HEAD, _WING = 0.8, 9.0, 4.5


def arrow(x1: float, y1: float, x2: float, y2: float, *, both: bool = False, kind: str = "ink") -> str:
    """An arrow from one point to another, or with a head at both ends, filled with the colour of `kind`."""
    length = hypot(x2 - x1, y2 - y1)
    along_x, along_y = (x2 - x1) / length, (y2 - y1) / length

    def point(along: float, aside: float) -> str:
        return f"{x1 + along * along_x - aside * along_y:.1f} {y1 + along * along_y + aside * along_x:.1f}"

    start, end = _HEAD if both else 0.0, length - _HEAD
    tail = [(start, _WING), (0.0, 0.0), (start, -_WING)] if both else []
    outline = [
        *tail, (start, -_HALF), (end, -_HALF), (end, -_WING), (length, 0.0), (end, _WING), (end, _HALF), (start, _HALF)
    ]  # fmt: skip
    return f'<path class="{kind}" d="M{"L".join(point(*corner) for corner in outline)}Z"/>'


def centred(x: float, baseline: float, line: str, *, size: int = 14, kind: str = "ink") -> str:
    """A line of text with its middle at `x`."""
    return text(x, baseline, line, size=size, kind=kind).replace("<text ", '<text text-anchor="middle" ', 1)


def box(x: float, y: float, width: float, height: float, lines: tuple[str, ...], *, kind: str = "hole") -> str:
    """A rectangle with lines of text in its middle."""
    first = y + height / 2 + 5 - 9 * (len(lines) - 1)
    texts = [centred(x + width / 2, first + 18 * number, line) for number, line in enumerate(lines)]
    return rect(x, y, width, height, kind) + "".join(texts)
