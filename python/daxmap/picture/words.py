"""Numbers and names as text: sizes, plurals, and names of files that a guest may have chosen."""

import os
import textwrap
import unicodedata

__all__ = [
    "address_range",
    "can_encode",
    "columns",
    "count",
    "ellipsis",
    "file_label",
    "neutral",
    "shorten",
    "size",
    "wrap",
]

_NO_BREAK = "\N{NO-BREAK SPACE}"
_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def size(number: int) -> str:
    """Bytes in the largest unit of which there is one at least, rounded down: a page less than 2 MiB is not "2 MiB".

    >>> size(2 << 20), size((2 << 20) - 4096), size(1), size(0)
    ('2 MiB', '1.9 MiB', '1 byte', '0 bytes')
    """
    power = min(max(number.bit_length() - 1, 0) // 10, len(_UNITS))
    if power == 0:
        return count(number, "byte")
    whole, tenth = divmod(number * 10 >> 10 * power, 10)
    return f"{whole}{f'.{tenth}' if tenth else ''} {_UNITS[power - 1]}"


def count(number: int, noun: str) -> str:
    """How many there are of what the noun names.

    >>> count(1, "mapping"), count(4317, "mapping")
    ('1 mapping', '4,317 mappings')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def address_range(start: int, length: int) -> str:
    """The range in hexadecimal; its end is the first address that is not in it."""
    return f"{start:#x}-{start + length:#x}"


def neutral(text: str, encoding: str = "utf-8") -> str:
    r"""The text without what a terminal or a browser would obey, nor what the encoding lacks.

    Controls, line ends, marks of direction and lone surrogates (of bytes that are no UTF-8) become escapes as in
    Python's source, and so do backslashes: else a name could look like another one's escape. HTML needs more.

    >>> print(neutral("a\x1b[31m\n\u202eb\\"))
    a\x1b[31m\n\u202eb\\
    """
    return "".join(char if _is_harmless(char, encoding) else ascii(char)[1:-1] for char in text)


def can_encode(text: str, encoding: str) -> bool:
    """Whether the encoding, one of Python's, has all of the text."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def ellipsis(encoding: str) -> str:
    """What stands for text that was left out."""
    return "…" if can_encode("…", encoding) else "..."


def file_label(path: str | None, dev: int, ino: int) -> str:
    """The file's path; without one, the device and inode as /proc/self/maps has them. Not neutral yet."""
    return path if path is not None else f"inode {ino} of device {os.major(dev):02x}:{os.minor(dev):02x}"


def columns(text: str) -> int:
    """An upper bound of the columns that a terminal needs for a neutral text. A combining mark counts as one."""
    return sum(map(_columns_of, text))


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


def _is_harmless(char: str, encoding: str) -> bool:
    return char.isprintable() and char != "\\" and can_encode(char, encoding)


def _columns_of(char: str) -> int:
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _fitting(text: str, limit: int) -> str:
    """The longest beginning that fits."""
    used = 0
    for index, char in enumerate(text):
        used += _columns_of(char)
        if used > limit:
            return text[:index]
    return text
