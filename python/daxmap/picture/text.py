"""A window as text, for a terminal or a log."""

import shutil

from daxmap.picture import caption, words
from daxmap.picture.grid import Gap, grid
from daxmap.picture.listing import listing
from daxmap.picture.signs import WIDTH, Signs
from daxmap.picture.survey import Survey
from daxmap.picture.table import table
from daxmap.sizes import rough_size
from daxmap.textwidth import columns, output_encoding

__all__ = ["render"]

_MIN_WIDTH, _MAX_WIDTH = 60, 100
# At most; it is a power of two, so that the addresses of rows are round.
_CELLS_PER_ROW = 32


def render(survey: Survey, *, width: int | None = None) -> str:
    """Draws a window as lines of text. What the encoding of `sys.stdout` lacks is drawn in ASCII.

    >>> from daxmap.picture.survey import Shown
    >>> mib = 1 << 20
    >>> libc = Shown(0, 4 * mib, 0, writable=False, ino=1, path="/usr/lib/libc.so.6", file_size=3 * mib,
    ...              resident=(2 * mib, mib // 2))
    >>> log = Shown(6 * mib, mib, 0, writable=True, ino=2, path="/var/log/guest.log", file_size=mib, resident=(mib,))
    >>> survey = Survey("root", 0x4000_0000, 16 * mib, readonly=False, page_size=4096, closed=False, shown=(libc, log))
    >>> print(render(survey, width=80))
    DAX window "root": 16 MiB at 0x40000000-0x41000000
    2 mappings of 2 files: 5 MiB mapped, 3.5 MiB resident,
    1 MiB past the end of a file
    one cell = 2 MiB: █ resident, ▓ at least half, █· mapped in part,
    ▓! in part past the end of a file, ·· hole
    below a cell: the letter of its file, a capital if writable
    <BLANKLINE>
    0x40000000  ██▓!··█·········
                a a   B
    <BLANKLINE>
       guest address          file range    access     resident  past end
    a  /usr/lib/libc.so.6
       0x40000000-0x40400000  0x0-0x400000  read-only  2.5 MiB   1 MiB
    b  /var/log/guest.log
       0x40600000-0x40700000  0x0-0x100000  writable   1 MiB

    Args:
        survey: The window.
        width: The most columns that a line may take, from 60 to 100; any other is taken for the nearest of them. None:
            as many as the terminal has.
    """
    width = min(max(shutil.get_terminal_size().columns if width is None else width, _MIN_WIDTH), _MAX_WIDTH)
    encoding = output_encoding()
    signs = Signs.of(encoding)
    margin = len(f"{survey.base + survey.size - 1:#x}  ")
    room = (width - margin) // WIDTH
    picture = grid(survey, min(1 << room.bit_length() - 1, _CELLS_PER_ROW))
    listed = listing(survey)
    marks = listed.marks(picture)

    lines = _caption(survey, width, encoding)
    lines += words.wrap(f"one cell = {rough_size(picture.cell)}: {signs.key(picture)}", width)
    lines += words.wrap(listed.key(picture), width)
    lines.append("")
    for row in picture.rows:
        if isinstance(row, Gap):
            lines.append(f"{'':{margin}}{words.ellipsis(encoding)} {words.count(row.holes, 'cell')} of holes")
            continue
        lines.append(f"{row.address:#x}".ljust(margin) + signs.row(row))
        below = "".join(marks.get(cell.address, "").ljust(WIDTH) for cell in row.cells)
        if not below.isspace():
            lines.append((" " * margin + below).rstrip())
    if listed.files:
        lines += ["", *table(survey, listed, width, encoding)]
    return "\n".join(lines)


def _caption(survey: Survey, width: int, encoding: str) -> list[str]:
    title, place = caption.title(survey, width - 1, encoding), caption.place(survey)
    line = f"{title}: {place}"
    lines = [line] if columns(line) <= width else [f"{title}:", *words.wrap(place, width)]
    return lines + words.wrap(caption.summary(survey), width)
