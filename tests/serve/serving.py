"""`daxmap serve` as a process, and a front end that says one word."""

import json
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.programs import TIMEOUT

_GET_FEATURES = struct.pack("=III", 1, 1, 0)  # VHOST_USER_GET_FEATURES, version 1, no body
_PROTOCOL_FEATURES = 1 << 30


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "daxmap", "serve", *arguments]


class FrontEnd:
    """Connects, and asks what the device offers."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(TIMEOUT)
        self._socket.connect(str(path))

    def ask(self) -> int:
        """The features of the device."""
        self._socket.sendall(_GET_FEATURES)
        reply = self._socket.recv(20, socket.MSG_WAITALL)
        _, _, size, features = struct.unpack("=IIIQ", reply)
        assert size == 8
        assert features & _PROTOCOL_FEATURES
        return int(features)

    def say(self, words: bytes) -> bytes:
        """What comes back of anything: nothing if that is the end, with or without words that were not read."""
        with suppress(ConnectionResetError, BrokenPipeError):
            self._socket.sendall(words)
            return self._socket.recv(1)
        return b""

    def close(self) -> None:
        self._socket.close()


class Serving:
    """The command, from when its socket is there."""

    def __init__(self, folder: Path, arguments: Sequence[str]) -> None:
        self.socket = folder / "s"
        self._process = subprocess.Popen(
            command("share", "--socket", "s", "--json", *arguments),
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._front_ends: list[FrontEnd] = []
        self.ready: dict[str, Any] = self.line()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for front_end in self._front_ends:
            front_end.close()
        self._process.kill()
        self._process.communicate(timeout=TIMEOUT)

    @property
    def pid(self) -> int:
        return self._process.pid

    def connect(self) -> FrontEnd:
        """A front end, which is closed after the test at the latest."""
        self._front_ends.append(FrontEnd(self.socket))
        return self._front_ends[-1]

    def line(self) -> dict[str, Any]:
        """What it prints next."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError(f"it printed nothing more: {self._process.communicate(timeout=TIMEOUT)[1]}")
        found: dict[str, Any] = json.loads(line)
        return found

    def status(self) -> dict[str, Any]:
        self.signal(signal.SIGUSR1)
        return self.line()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def end(self) -> tuple[int, list[dict[str, Any]], str]:
        """Waits for its end: exit code, what else it printed, and its complaints."""
        output, errors = self._process.communicate(timeout=TIMEOUT)
        return self._process.returncode, [json.loads(line) for line in output.splitlines()], errors

    def close_output(self) -> None:
        """Reads no more."""
        assert self._process.stdout is not None
        self._process.stdout.close()
