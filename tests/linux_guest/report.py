"""What a person sees of a run: a line a check, and what is needed to understand a failure."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from linux_guest.guest import GuestFaultError
from linux_guest.processes import GoneError, HangError
from linux_guest.rig import NotHereError

_LONGEST = 400


def _short(error: Exception) -> str:
    text = str(error)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


class Report:
    """Counts and prints."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words
        self._group = ""
        self.passed = self.failed = self.skipped = 0

    def totals(self) -> str:
        """How many of each."""
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"

    @contextmanager
    def group(self, title: str, tails: Callable[[], str]) -> Iterator[None]:
        """Checks in one guest. When it is gone the others fail with it, and it is told what it last said."""
        self._group = title
        started = time.monotonic()
        try:
            yield
        except (GoneError, HangError) as reason:
            print(f"{title}: the guest is lost ({reason}); what was to follow is not checked\n{tails()}", flush=True)
        print(f"{title}: {time.monotonic() - started:.0f} s", flush=True)

    def run(self, name: str, check: Callable[[], None], *, needed: bool = False, of_all: bool = False) -> None:
        """Run a check.

        With words, it is run if its name has one of them, or if all others need it. What is said `of_all` is not.
        """
        if self._words and not needed and (of_all or not any(word in name for word in self._words)):
            return
        started = time.monotonic()
        lost: Exception | None = None
        try:
            check()
        except NotHereError as reason:
            self.skipped += 1
            result, detail = "SKIP", f": {reason}"
        except (AssertionError, GuestFaultError, OSError, ValueError) as error:
            self.failed += 1
            result, detail = "FAIL", f": {_short(error)}"
        except (GoneError, HangError) as error:
            self.failed += 1
            result, detail, lost = "FAIL", f": {error}", error
        else:
            self.passed += 1
            result, detail = "ok", ""
        print(f"{result:4} {self._group}: {name} ({time.monotonic() - started:.1f} s){detail}", flush=True)
        if lost is not None:
            raise lost
