"""The server under test: `daxmap serve`, one process a share."""

import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulation.processes import Process

READY_LIMIT = 20
STATUS_LIMIT = 10


def program() -> str:
    """The command: that of the environment this runs in, unless the variable DAXMAP names another."""
    return os.environ.get("DAXMAP") or str(Path(sys.executable).with_name("daxmap"))


@dataclass(frozen=True)
class Status:
    """What the server says of itself."""

    dax: str
    reason: str
    stats: dict[str, Any]

    def count(self, name: str) -> int:
        """One of its counters."""
        return int(self.stats[name])


class Server:
    """A share that is served: with the option --once until its guest is gone, else to one after another."""

    def __init__(
        self,
        tag: str,
        directory: Path,
        folder: Path,
        options: Sequence[str],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.tag = tag
        self.socket = f"{tag}.sock"  # in `folder`, where QEMU runs, too: paths of sockets have to be short
        command = [program(), "serve", str(directory), "--socket", self.socket, "--tag", tag, "--json"]
        self.process = Process(f"server-{tag}", [*command, *options], folder, environment)
        self.errors = folder / f"{self.process.name}-errors.log"
        self._folder = folder

    def wait_until_ready(self) -> None:
        """Wait for its first line: it says that the socket is there."""
        deadline = time.monotonic() + READY_LIMIT
        while not (self._folder / self.socket).is_socket():
            self.process.line(deadline)

    def status(self) -> Status:
        """What it says now."""
        self.process.signal(signal.SIGUSR1)
        return self._next_status()

    def final_status(self) -> Status:
        """What it says at its end, which comes when the guest has gone; that it succeeds is checked."""
        status = self._next_status()
        code = self.process.wait(STATUS_LIMIT)
        assert code == 0, f"{self.process.name} exits with {code}"
        return status

    def end(self) -> Status:
        """End it, and see what it says then."""
        self.process.signal(signal.SIGTERM)
        return self.final_status()

    def _next_status(self) -> Status:
        deadline = time.monotonic() + STATUS_LIMIT
        while True:
            said = json.loads(self.process.line(deadline))
            if "stats" in said:
                return Status(said["dax"], said.get("reason") or "", said["stats"])
