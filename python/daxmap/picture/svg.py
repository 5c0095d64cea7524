"""A window as an SVG image."""

from daxmap.picture import caption, shapes, words
from daxmap.picture.grid import Cell, Gap, Grid, grid
from daxmap.picture.listing import Listing, listing
from daxmap.picture.shapes import MARGIN
from daxmap.picture.survey import Survey
from daxmap.picture.table import table
from daxmap.sizes import rough_size
from daxmap.textwidth import neutral

__all__ = ["drawing", "to_svg"]

_CELLS_PER_ROW = 32
# Pixels, as all numbers that follow.
_WIDTH = 960
# Font sizes, the height of a line, of a cell, from one cell to the next, and what is below it.
_LARGE, _SMALL, _LINE, _CELL, _PITCH, _BELOW = 15, 11, 18, 22, 24, 18
# So many pixels are left to what is small: all that is in a cell can be seen, and a hole beside it.
_LEAST = 2
# Columns of a path under the pointer.
_LABEL = 80
_PAST_END = "past-end"
_MEANINGS = {
    "ro-resident": "read-only, resident",
    "ro-absent": "read-only, not resident",
    "ro-unknown": "read-only, residency unknown",
    "rw-resident": "writable, resident",
    "rw-absent": "writable, not resident",
    "rw-unknown": "writable, residency unknown",
    _PAST_END: "past the end of a file",
    "hole": "hole",
}


def to_svg(survey: Survey) -> str:
    """Draws a window as an XML document, 960 pixels wide, that needs nothing else; for light grounds and dark ones.

    A cell is filled from below, in proportion to its bytes.
    """
    listed = listing(survey)
    elements, y = _picture(survey, listed)
    for line in table(survey, listed, shapes.columns(_WIDTH - 2 * MARGIN, _SMALL, mono=True)):
        y += _LINE
        elements.append(shapes.text(MARGIN, y, line, size=_SMALL, kind="mono ink"))
    return _image(survey, elements, y)


def drawing(survey: Survey) -> str:
    """The same without the listing, for a page that has it as a table."""
    return _image(survey, *_picture(survey, listing(survey)))


def _image(survey: Survey, elements: list[str], y: float) -> str:
    title = f"{_title(survey)}: {caption.place(survey)}"
    return shapes.image(title, caption.summary(survey), _WIDTH, y + MARGIN, elements)


def _title(survey: Survey) -> str:
    return caption.title(survey, shapes.columns(_WIDTH - 2 * MARGIN, _LARGE))


def _picture(survey: Survey, listed: Listing) -> tuple[list[str], float]:
    """All but the listing, and how far down it reaches."""
    picture = grid(survey, _CELLS_PER_ROW)
    y = float(MARGIN + _LARGE)
    elements = [shapes.text(MARGIN, y, _title(survey), size=_LARGE)]
    size = f"one cell = {rough_size(picture.cell)}, filled from below in proportion to its bytes"
    for line in filter(None, (caption.place(survey), caption.summary(survey), size, listed.key(picture))):
        y += _LINE
        elements.append(shapes.text(MARGIN, y, line, kind="dim"))
    key, y = _key(picture, y + _LINE + 4)
    elements += key
    y += 2 * _LINE
    marks = listed.marks(picture)
    left = MARGIN + shapes.text_width(f"{survey.base + survey.size - 1:#x}  ", _SMALL)
    for row in picture.rows:
        x = left
        if isinstance(row, Gap):
            elements.append(shapes.text(x, y + 14, f"… {words.count(row.holes, 'cell')} of holes", kind="dim"))
            y += 28
            continue
        elements.append(shapes.text(MARGIN, y + 15, f"{row.address:#x}", size=_SMALL, kind="mono ink"))
        for cell in row.cells:
            elements.append(_cell(cell, x, y))
            if cell.shown:
                elements.append(shapes.text(x + 4, y + _CELL + 11, marks[cell.address], size=_SMALL, kind="mono ink"))
            x += _PITCH
        y += _CELL + _BELOW
    return elements, y


def _key(picture: Grid, y: float) -> tuple[list[str], float]:
    """What the colours mean that a picture has, in lines, and the baseline of the last one."""
    used = {kind for cell in picture.cells() for kind, _ in _parts(cell)}
    elements = []
    x = float(MARGIN)
    for kind, meaning in _MEANINGS.items():
        if kind not in used:
            continue
        width = 20 + shapes.text_width(meaning, _SMALL)
        if x + width > _WIDTH - MARGIN:
            x, y = MARGIN, y + _LINE
        swatch = shapes.cross if kind == _PAST_END else shapes.rect
        elements += [swatch(x, y - 11, 14, 14, kind), shapes.text(x + 20, y, meaning, size=_SMALL, kind="dim")]
        x += width
    return elements, y


def _cell(cell: Cell, x: float, y: float) -> str:
    frame = shapes.rect(x, y, _CELL, _CELL, "hole")
    if not cell.shown:
        return frame
    parts = [(kind, max(_LEAST, _CELL * size / cell.length)) for kind, size in _parts(cell) if kind != "hole"]
    room = _CELL - (_LEAST if cell.tally.mapped < cell.length else 0)
    scale = min(1, room / sum(height for _, height in parts))
    bottom = y + _CELL
    elements = []
    for kind, height in parts:
        bottom -= height * scale
        shape = shapes.cross if kind == _PAST_END else shapes.rect
        elements.append(shape(x, bottom, _CELL, height * scale, kind))
    return shapes.group(_tooltip(cell), [*elements, frame])


def _parts(cell: Cell) -> list[tuple[str, int]]:
    """What a cell is made of, from below: kinds and bytes, none of them 0."""
    parts = [
        (f"{access}-{state}", size)
        for access, tally in (("ro", cell.readonly), ("rw", cell.writable))
        for state, size in (("resident", tally.resident), ("absent", tally.absent), ("unknown", tally.unknown))
    ]
    parts += [(_PAST_END, cell.tally.past_end), ("hole", cell.length - cell.tally.mapped)]
    return [(kind, size) for kind, size in parts if size]


def _tooltip(cell: Cell) -> str:
    where = words.address_range(cell.address, cell.length)
    what = ", ".join(f"{rough_size(size)} {_MEANINGS[kind]}" for kind, size in _parts(cell))
    first, *others = {words.file_label(one.path, *one.file) for one in cell.shown}
    whose = words.count(1 + len(others), "file") if others else words.shorten(neutral(first), _LABEL, "…")
    return f"{where}: {what}; {words.count(len(cell.shown), 'mapping')} of {whose}"
