"""What a person sees of a run: a line a check, and what is needed to understand a failure."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from emulation.processes import GoneError, HangError
from linux_guest.guest import GuestFaultError
from linux_guest.rig import NotHereError

_LONGEST = 400
FAILURES = (AssertionError, GuestFaultError, OSError, ValueError, GoneError, HangError)
"""What a check that fails raises."""


class _LostError(Exception):
    """Nothing more can be checked in this guest: that has been said and counted."""


class Report:
    """Counts and prints. With words, only the checks whose names have one of them are run."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words
        self._passed = self.failed = self._skipped = 0

    def totals(self) -> str:
        """How many of each."""
        return f"{self._passed} passed, {self.failed} failed, {self._skipped} skipped"

    @contextmanager
    def group(self, title: str, logs: Path) -> Iterator[None]:
        """Checks in one guest. When it is lost, the ends of the logs in a folder are shown."""
        print(title, flush=True)
        started = time.monotonic()
        try:
            yield
        except _LostError:
            print(f"what was to follow is not checked\n{_tails(logs)}", flush=True)
        except FAILURES as error:
            self.failed += 1
            print(f"  FAIL start: {_short(error)}\n{_tails(logs)}", flush=True)
        print(f"  {time.monotonic() - started:.0f} s", flush=True)

    def run(self, name: str, check: Callable[[], None], *, needed: bool = False, of_all: bool = False) -> None:
        """Run a check, which all others may need, or which may be about all others."""
        if self._words and not needed and (of_all or not any(word in name for word in self._words)):
            return
        started = time.monotonic()
        lost = False
        try:
            check()
        except NotHereError as reason:
            self._skipped += 1
            result, detail = "skip", f": {reason}"
        except FAILURES as error:
            self.failed += 1
            result, detail = "FAIL", f": {_short(error)}"
            lost = needed or isinstance(error, (GoneError, HangError))
        else:
            self._passed += 1
            result, detail = "ok", ""
        print(f"  {result:4} {name} ({time.monotonic() - started:.1f} s){detail}", flush=True)
        if lost:
            raise _LostError


def _short(error: Exception) -> str:
    text = f"{error}" or type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _tails(logs: Path) -> str:
    """What each program and the guest's console said last."""
    parts = []
    for log in sorted(logs.glob("*.log")):
        lines = log.read_text(errors="replace").splitlines()[-20:]
        parts += [f"--- {log.name}, the end", *(lines or ["(empty)"])]
    return "\n".join(parts)
