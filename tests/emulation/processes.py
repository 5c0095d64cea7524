"""Programs that the run starts: what they print is read with a deadline, and at the end none of them is left."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

_GRACE = 10  # seconds that a program has to end by itself


def end_what_was_started() -> None:
    """Have SIGTERM and SIGHUP end this program as an exception does, through what ends the others."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))


class HangError(Exception):
    """Nothing came before the deadline."""


class GoneError(Exception):
    """The program has ended, or closed its output."""


class Process:
    """A program in a process group of its own. What it prints is read a line at a time, and kept in a log."""

    def __init__(
        self, name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        with (folder / f"{name}-errors.log").open("wb") as errors:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=None if environment is None else {**os.environ, **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input: IO[bytes] = self._process.stdin
        # A thread reads: a program must never wait because nobody does.
        self._reader = threading.Thread(
            target=self._read, args=(self._process.stdout, folder / f"{name}.log"), daemon=True
        )
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _read(self, output: IO[bytes], copy: Path) -> None:
        with copy.open("wb", buffering=0) as log:
            for line in output:
                log.write(line)
                self._lines.put(line.decode(errors="replace").rstrip("\r\n"))
        self._lines.put(None)

    def write(self, line: str) -> None:
        """Send a line to its standard input."""
        try:
            self._input.write(line.encode() + b"\n")
            self._input.flush()
        except BrokenPipeError:
            raise GoneError(f"{self.name} has ended") from None

    def line(self, deadline: float) -> str:
        """The next line that it prints, until a time of the clock `time.monotonic`."""
        try:
            line = self._lines.get(timeout=max(0, deadline - time.monotonic()))
        except queue.Empty:
            raise HangError(f"{self.name} says nothing") from None
        if line is None:
            self._lines.put(None)  # for the next call
            raise GoneError(f"{self.name} has closed its output")
        return line

    @property
    def pid(self) -> int:
        """Its number, for /proc."""
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def wait(self, seconds: float) -> int:
        """Its exit status."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise HangError(f"{self.name} does not end") from None

    def stop(self) -> None:
        """End it, with all that it has started."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE)
                break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # children that outlived it
        self._reader.join(_GRACE)
        with contextlib.suppress(BrokenPipeError):
            self._input.close()
        assert self._process.stdout is not None
        self._process.stdout.close()
