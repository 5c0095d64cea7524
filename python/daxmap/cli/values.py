"""Values of options, read by functions that argparse takes as `type`.

What is wrong with one is an ArgumentTypeError, which argparse tells after the name of the option.
"""

from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from daxmap.checks import check_int
from daxmap.sizes import size_in_bytes

__all__ = ["address", "refused", "size", "whole_number"]

_GUEST_PAGE = 4096  # the smallest that guests have: no memory slot starts between two of them


@contextmanager
def refused(name: str) -> Iterator[None]:
    """Turn a ValueError about the argument `name` into what argparse tells; the option's name stands for that one."""
    try:
        yield
    except ValueError as error:
        raise ArgumentTypeError(str(error).removeprefix(f"{name}: ")) from None


def size(text: str) -> int:
    """Bytes, from a whole number with a unit."""
    with refused("size"):
        return size_in_bytes("size", text)


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """What reads a whole number in the range `low..=high`."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise ArgumentTypeError(f"{text!r} is no whole number") from None
        with refused("number"):
            check_int("number", number, low, high)
        return number

    return read


def address(text: str) -> int:
    """A guest physical address at which memory can start, decimal or with 0x."""
    try:
        number = int(text, 0)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no address, such as 0x80000000") from None
    with refused("address"):
        check_int("address", number)
    if number % _GUEST_PAGE:
        meant = f"; did you mean 0x{text}?" if text.isdecimal() and int(text, 16) % _GUEST_PAGE == 0 else ""
        raise ArgumentTypeError(f"{text} is not a multiple of 4 KiB{meant}")
    return number
