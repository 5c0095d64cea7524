"""Sizes as people write them: whole numbers with a binary unit, such as "128MiB"."""

import re

from daxmap.checks import check_int

__all__ = ["format_size", "rough_size", "size_in_bytes"]

_UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
# Twenty digits hold every 64-bit number; a longer string would reach int()'s own limit and its message.
_SIZE = re.compile(rf"([0-9]{{1,20}}) ?({'|'.join(_UNITS)})")
_MEANT = re.compile(r"\s*([0-9]{1,20})\s*([KMGT])i?B?\s*", re.IGNORECASE)


def size_in_bytes(name: str, value: int | str) -> int:
    """Returns a size in bytes.

    >>> size_in_bytes("size", "128MiB")
    134217728
    >>> size_in_bytes("size", 4096)
    4096

    Args:
        name: What the size is of, for the errors.
        value: Bytes as an int, or a string: a whole number and KiB, MiB, GiB or TiB (powers of 1024), with a space
            between them or none. "128MB" and "128M" are refused, since some mean powers of 1000, and so is a number
            without a unit.

    Raises:
        TypeError: The value is neither an int nor a str; a bool is not an int.
        ValueError: The string is no such size, or the size is not in the range 0 to 2**64-1.
    """
    if isinstance(value, str):
        value = _parse(name, value)
    check_int(name, value)
    return value


def _parse(name: str, text: str) -> int:
    if found := _SIZE.fullmatch(text):
        return int(found[1]) * _UNITS[found[2]]
    meant = _MEANT.fullmatch(text)
    hint = f"; write '{meant[1]}{meant[2].upper()}iB'" if meant else ", such as '128MiB'"
    raise ValueError(f"{name}: {text!r} is not a whole number with a binary unit ({', '.join(_UNITS)}){hint}")


def format_size(size: int) -> str:
    """Writes a size exactly, in the largest unit that allows it. `size_in_bytes` reads it if it has a unit.

    >>> format_size(3 << 19), format_size(1), format_size(0)
    ('1536 KiB', '1 B', '0 B')
    """
    for unit, factor in reversed(_UNITS.items()):
        if size and size % factor == 0:
            return f"{size // factor} {unit}"
    return f"{size} B"


def rough_size(size: int) -> str:
    """Writes a size for people, rounded down to a tenth of a unit: a page less than 2 MiB is not "2 MiB".

    The unit is the largest of which there is one at least.

    >>> rough_size(2 << 20), rough_size((2 << 20) - 4096), rough_size(1023), rough_size(0)
    ('2 MiB', '1.9 MiB', '1023 B', '0 B')
    """
    for unit, factor in reversed(_UNITS.items()):
        if size >= factor:
            whole, tenth = divmod(size * 10 // factor, 10)
            return f"{whole}{f'.{tenth}' if tenth else ''} {unit}"
    return f"{size} B"
