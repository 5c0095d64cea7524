"""Surveys made by hand, and names that a guest may give to its files."""

import os

from hypothesis import strategies as st

from daxmap.picture.survey import CELL, Shown, Survey

PAGE = 4096
MIB = 1 << 20
BASE = 0x1_4000_0000

# To make a terminal or a browser obey, or a parser stumble.
HOSTILE = [
    "/srv/\x1b[31mred\x1b[0m",
    "/srv/\x9b2J\x07",
    "/srv/line\nbreak\r\x0b\x0c\x85\u2028\u2029",
    "/srv/\u202egnp.exe\u2066\u200f",
    "/srv/<script>alert('1')</script>",
    '/srv/" onload="alert(1)&amp;',
    "/srv/]]>--></style></svg>",
    os.fsdecode(b"/srv/\xff\xfe bytes"),
    "/srv/\x01\ufffe\uffff\U000e0001",
    "/srv/back\\x1bslash",
    "/srv/" + "長い名前/" * 400,
    "/srv/" + "e\u0301" * 500,
    "/srv/" + "a" * 4000,
    "/srv/שלום/12.txt",
]


def shown(  # noqa: PLR0913  # a mapping has many parts
    window_offset: int,
    length: int,
    *,
    resident: float | None = 1,
    file_size: int | None = None,
    file_offset: int = 0,
    writable: bool = False,
    ino: int = 1,
    path: str | None = "/srv/file",
) -> Shown:
    """A mapping of a file that is long enough, unless told otherwise, with this part of each cell resident."""
    unknown = Shown(window_offset, length, file_offset, writable, 1, ino, path, file_size)
    if resident is None:
        return unknown
    starts = range(window_offset // CELL * CELL, unknown.end, CELL)
    cells = tuple(int(unknown.tally(PAGE, start, start + CELL).unknown * resident) // PAGE * PAGE for start in starts)
    return Shown(window_offset, length, file_offset, writable, 1, ino, path, file_size, cells)


def survey(*mappings: Shown, size: int = 128 * MIB, name: str = "root", base: int = BASE) -> Survey:
    return Survey(name, base, size, readonly=False, page_size=PAGE, closed=False, shown=mappings)


def hostile() -> Survey:
    """A window that shows a file of each hostile name."""
    return survey(*(shown(ino * CELL, CELL, ino=ino, path=path) for ino, path in enumerate(HOSTILE)), name=HOSTILE[0])


@st.composite
def surveys(draw: st.DrawFn) -> Survey:
    """Windows of any size, densely or sparsely mapped, at offsets and lengths of pages."""
    unit = draw(st.sampled_from([PAGE, CELL // 2, CELL, 64 * CELL, 1 << 32]))
    mappings: list[Shown] = []
    offset = 0
    for ino in range(draw(st.integers(0, 40))):
        offset += draw(st.integers(0, 4)) * unit + draw(st.integers(0, 3)) * PAGE
        length = draw(st.integers(1, 3)) * draw(st.sampled_from([PAGE, min(unit, 16 * CELL)]))
        mappings.append(
            shown(
                offset,
                length,
                resident=draw(st.sampled_from([None, 0, 0.3, 1])),
                file_size=draw(st.none() | st.integers(0, 2 * length)),
                writable=draw(st.booleans()),
                ino=draw(st.integers(0, ino)),
                path=draw(st.none() | st.text(max_size=40) | st.sampled_from(HOSTILE)),
            )
        )
        offset += length
    size = max(PAGE, offset + draw(st.integers(0, 3)) * unit)
    base = draw(st.sampled_from([0, BASE, 2**64 - size]))
    return survey(*mappings, size=size, name=draw(st.text(max_size=40)), base=base)
