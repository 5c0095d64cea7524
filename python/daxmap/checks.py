"""Checks of arguments. Every error message starts with the argument's name."""

from typing import Any

__all__ = ["U64_MAX", "check_callable", "check_choice", "check_int", "check_type"]

U64_MAX = 2**64 - 1


def check_type(name: str, value: object, expected: type) -> None:
    """Raises TypeError unless a value has a type; a bool is not taken for an int."""
    if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
        raise TypeError(f"{name}: {value!r} is of type {type(value).__name__}, not {expected.__name__}")


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raises TypeError unless a value is a str, and ValueError unless it is one of some."""
    if not isinstance(value, str):
        raise TypeError(f"{name}: {value!r} is not a str: one of {', '.join(map(repr, choices))}")
    if value not in choices:
        raise ValueError(f"{name}: {value!r} is not one of {', '.join(map(repr, choices))}")


def check_callable(name: str, value: Any, *arguments: str) -> None:  # noqa: ANN401  # whatever a caller gives
    """Raises TypeError unless a value can be called with these arguments, and is no coroutine function."""
    from inspect import iscoroutinefunction, signature  # noqa: PLC0415  (a third of what daxmap would take to import)

    if not callable(value):
        raise TypeError(f"{name}: {value!r} is not callable")
    if iscoroutinefunction(value) or iscoroutinefunction(getattr(value, "__call__", None)):  # noqa: B004  # not asked whether it is callable
        raise TypeError(f"{name} is a coroutine function: it is called, and never awaited")
    try:
        signature(value).bind(*arguments)
    except TypeError:
        raise TypeError(f"{name} does not take the arguments that it is called with: {', '.join(arguments)}") from None
    except Exception:  # noqa: BLE001, S110  # of C code, mostly, which tells no signature; or of an object of many faces
        pass


def check_int(name: str, value: int, low: int = 0, high: int = U64_MAX) -> None:
    """Raises TypeError unless a value is an int, and ValueError unless it is in `low..=high`."""
    check_type(name, value, int)
    if not low <= value <= high:
        # str() refuses ints of several thousand digits, hex does not.
        shown = str(value) if value.bit_length() <= U64_MAX.bit_length() else f"{value:#x}"
        limit = "2**64-1" if high == U64_MAX else str(high)
        raise ValueError(f"{name}: {shown} is not in the range {low} to {limit}")
