"""Pictures that daxmap draws: a window, as `mapper.to_svg()` has it, and a layout, as notebooks have it."""

from daxmap import MappingInfo, WindowLayout, picture
from daxmap.picture import address_map
from daxmap.picture.survey import CELL

__all__ = ["layout", "window"]

_MIB = 1 << 20
_BASE = 0x4000_0000


class Example:
    """A mapper as far as a picture needs one, which is the same on every machine."""

    name, base, size = "root", _BASE, 128 * _MIB
    readonly, closed, page_size = False, False, 4096

    def _survey(self) -> list[tuple[MappingInfo, str | None, int | None, list[int]]]:
        database, library, log = (24 * _MIB, 1), (3 * _MIB, 2), (40_000, 3)
        return [
            _mapping(0, 2, 0, database, "/srv/root/var/lib/app.db", writable=True, resident=[CELL]),
            _mapping(2, 2, 2, database, "/srv/root/var/lib/app.db", writable=True, resident=[CELL // 2]),
            _mapping(4, 4, 8, database, "/srv/root/var/lib/app.db", writable=False, resident=[CELL, CELL // 4]),
            _mapping(16, 2, 0, library, "/srv/root/usr/lib/libc.so.6", writable=False, resident=[CELL]),
            _mapping(18, 2, 2, library, "/srv/root/usr/lib/libc.so.6", writable=False, resident=[_MIB]),
            _mapping(64, 2, 0, log, "/srv/root/var/log/messages", writable=True, resident=[40_960]),
        ]


def _mapping(
    at: int, length: int, offset: int, file: tuple[int, int], path: str, *, writable: bool, resident: list[int]
) -> tuple[MappingInfo, str, int, list[int]]:
    """A mapping: where it is, how long and from where in the file, in MiB; and the file's length and inode number."""
    return MappingInfo(at * _MIB, length * _MIB, offset * _MIB, writable, 1, file[1]), path, file[0], resident


def window() -> str:
    """A window with three files."""
    return picture.to_svg(Example())


def layout() -> str:
    """A guest with two shares."""
    return address_map.drawing(WindowLayout(0, "1GiB", [("root", "128MiB"), ("tools", "64MiB", True)]))
