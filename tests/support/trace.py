"""Which system calls a thread makes: see tests/support/trace.c."""

import ctypes
import gc
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

Calls = Counter[str]


class Tracer:
    """Counts system calls by name; those without a name here have their number for one."""

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        self._library.trace_call.restype = ctypes.c_char_p
        self._library.trace_number.restype = ctypes.c_long

    @contextmanager
    def calls(self) -> Iterator[Calls]:
        """Counts those of this thread in the block. They are known once it is left."""
        calls: Calls = Counter()
        gc.collect()  # else what other tests left behind may be closed in the block
        error = self._library.trace_start()
        if error:
            pytest.skip(f"system calls cannot be counted, ptrace: {os.strerror(error)}")
        try:
            yield calls
        finally:
            for index in range(self._library.trace_stop()):
                name = self._library.trace_call(index)
                calls[name.decode() if name else str(self._library.trace_number(index))] += 1
