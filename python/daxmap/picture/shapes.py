"""The elements of an SVG image. Text is escaped here and nowhere else; it has to be neutral (`words.neutral`)."""

from collections.abc import Iterable
from html import escape

from daxmap.picture.style import MONO_EM, SANS_EM, style

__all__ = ["MARGIN", "columns", "cross", "group", "image", "rect", "text", "text_width"]

# Pixels.
MARGIN = 16


def columns(width: float, size: int, *, mono: bool = False) -> int:
    """How many columns of text surely fit into a width, at a font size in pixels."""
    return int(width / (size * (MONO_EM if mono else SANS_EM)))


def text_width(line: str, size: int) -> float:
    """Pixels that no font needs more of."""
    return len(line) * size * SANS_EM


def text(x: float, baseline: float, line: str, *, size: int = 12, kind: str = "ink") -> str:
    """A line of text, of the classes in `kind`."""
    return f'<text class="{kind}" x="{_number(x)}" y="{_number(baseline)}" font-size="{size}">{escape(line)}</text>'


def rect(x: float, y: float, width: float, height: float, kind: str) -> str:
    """A rectangle of the class `kind`."""
    corner = f'x="{_number(x)}" y="{_number(y)}"'
    return f'<rect class="{kind}" {corner} width="{_number(width)}" height="{_number(height)}"/>'


def cross(x: float, y: float, width: float, height: float, kind: str) -> str:
    """A rectangle that is crossed out."""
    left, right, top, bottom = map(_number, (x, x + width, y, y + height))
    diagonals = f"M{left} {top}L{right} {bottom}M{left} {bottom}L{right} {top}"
    return rect(x, y, width, height, kind) + f'<path class="{kind}" d="{diagonals}"/>'


def group(title: str, elements: Iterable[str]) -> str:
    """Elements with a title that browsers show under the pointer."""
    return f"<g><title>{escape(title)}</title>{''.join(elements)}</g>"


def image(title: str, description: str, width: float, height: float, elements: Iterable[str]) -> str:
    """A whole image: an XML document that needs nothing else, and may be put into HTML as it is."""
    size = f'width="{_number(width)}" height="{_number(height)}" viewBox="0 0 {_number(width)} {_number(height)}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="daxmap" role="img" {size}>'
        f"<title>{escape(title)}</title><desc>{escape(description)}</desc>{style()}"
        f"{rect(0, 0, width, height, 'ground')}{''.join(elements)}</svg>"
    )


def _number(pixels: float) -> str:
    return f"{round(pixels, 1):g}"
