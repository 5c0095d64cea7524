"""What the preloaded tests/support/tally.c has counted."""

import ctypes

_LIBRARY = ctypes.CDLL(None)


def allocations() -> int:
    """Blocks of memory asked of malloc(3) and the like, by anybody in the process."""
    return _number(_LIBRARY.tally_allocations)


def mapped_attached() -> int:
    """Mappings replaced by a thread that kept the interpreter to itself meanwhile."""
    return _number(_LIBRARY.tally_attached)


def _number(function: "ctypes._NamedFuncPointer") -> int:
    function.restype = ctypes.c_ulong
    return int(function())
