"""Numbers and names as text: plurals, ranges, and names of files that a guest may have chosen, cut to fit."""

import os
import textwrap
from itertools import accumulate

from daxmap.textwidth import can_encode, columns

__all__ = [
    "address_range",
    "count",
    "ellipsis",
    "file_label",
    "shorten",
    "wrap",
]

_NO_BREAK = "\N{NO-BREAK SPACE}"


def count(number: int, noun: str) -> str:
    """How many there are of what the noun names.

    >>> count(1, "mapping"), count(4317, "mapping")
    ('1 mapping', '4,317 mappings')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def address_range(start: int, length: int) -> str:
    """The range in hexadecimal; its end is the first address that is not in it."""
    return f"{start:#x}-{start + length:#x}"


def ellipsis(encoding: str) -> str:
    """What stands for text that was left out."""
    return "…" if can_encode("…", encoding) else "..."


def file_label(path: str | None, dev: int, ino: int) -> str:
    """The file's path; without one, the device and inode as /proc/self/maps has them. Not neutral yet."""
    return path if path is not None else f"inode {ino} of device {os.major(dev):02x}:{os.minor(dev):02x}"


def shorten(text: str, limit: int, mark: str) -> str:
    """The text in at most so many columns, at least 6: left out is the middle, where a path says least, for a mark.

    >>> shorten("/usr/lib/x86_64-linux-gnu/libc.so.6", 21, "...")
    '/usr/l...nu/libc.so.6'
    """
    if columns(text) <= limit:
        return text
    room = limit - len(mark)
    head = _fitting(text, room // 3)
    return head + mark + _fitting(text[::-1], room - columns(head))[::-1]


def wrap(text: str, width: int, indent: str = "") -> list[str]:
    """ASCII text in lines that end after a comma or a colon; all but the first are indented twice.

    >>> wrap("one cell = 2 MiB: # resident, . hole", 30)
    ['one cell = 2 MiB: # resident,', '. hole']
    """
    kept = text.replace(" ", _NO_BREAK).replace(f",{_NO_BREAK}", ", ").replace(f":{_NO_BREAK}", ": ")
    lines = textwrap.wrap(kept, width, initial_indent=indent, subsequent_indent=2 * indent, break_on_hyphens=False)
    return [line.replace(_NO_BREAK, " ") for line in lines]


def _fitting(text: str, limit: int) -> str:
    """The longest beginning that fits."""
    ends = accumulate(map(columns, text))
    return "".join(char for char, end in zip(text, ends, strict=True) if end <= limit)
