"""The processes in the guest that use the share, as the host tells them and sees them."""

import struct
import time
from collections import Counter
from dataclasses import dataclass, field
from errno import EIO, ENOENT, ENOSPC, ESTALE

from emulation.processes import HangError
from linux_guest.guest import Guest
from linux_guest.soak.share import WORKERS

KINDS = (
    *("load", "store", "read", "write", "append", "create"),
    *("rename", "unlink", "truncate", "allocate", "sync", "list"),
)
_ERRNOS = (ENOSPC, ENOENT, ESTALE, EIO)
_OWN_FILES = 4
# struct page of worker/worker.h
_PAGE = struct.Struct(f"<2Q{len(KINDS)}Q{len(_ERRNOS)}Q2Q{3 * _OWN_FILES}Q256s")
_STOP_LIMIT = 60
"""Seconds for all workers to end, which compare their own files whole first."""
_HANG_LIMIT = 30
"""Seconds in which each worker does something."""


@dataclass(frozen=True)
class OwnFile:
    """What a file of a worker has to be."""

    size: int
    crc: int


@dataclass
class Work:
    """What workers have done."""

    done: Counter[str] = field(default_factory=Counter)
    refused: Counter[int] = field(default_factory=Counter)
    faults: int = 0
    gone: int = 0

    @property
    def count(self) -> int:
        """All operations, the refused too."""
        return self.done.total() + self.refused.total() + self.faults

    def add(self, other: "Work") -> None:
        """Count another's."""
        self.done += other.done
        self.refused += other.refused
        self.faults += other.faults
        self.gone += other.gone


class _Worker:
    """One of them."""

    def __init__(self, guest: Guest, number: int, seed: int, directory: str) -> None:
        self.name = f"worker {number}"
        self._guest = guest
        path = f"/tmp/worker.{number}"  # noqa: S108  # the guest's
        guest.shell(f"head -c 4096 /dev/zero >{path}")
        guest.shell(f"cd {directory}; setsid /worker {number} {seed} </dev/null >/dev/null 2>&1 &")
        self._fd = guest.open(path, 2)
        self.work = Work()
        self.own: dict[int, OwnFile] = {}
        self.has_ended = False
        self._moved = time.monotonic()

    def look(self) -> None:
        """Read its page: it has to be right, and at work."""
        _, ended, *numbers, told = _PAGE.unpack(self._guest.pread(self._fd, _PAGE.size, 0))
        numbers, own = numbers[: -3 * _OWN_FILES], numbers[-3 * _OWN_FILES :]
        *counts, faults, gone = numbers
        wrong = told.rstrip(b"\0").decode(errors="replace")
        assert not wrong, f"{self.name}: {wrong}"
        done = Counter(dict(zip(KINDS, counts, strict=False)))
        refused = Counter(dict(zip(_ERRNOS, counts[len(KINDS) :], strict=True)))
        before, self.work = self.work, Work(done, refused, faults, gone)
        self.own = {own[i]: OwnFile(own[i + 1], own[i + 2]) for i in range(0, len(own), 3) if own[i]}
        self.has_ended = bool(ended)
        if self.work.count != before.count:
            self._moved = time.monotonic()
        elif not ended and time.monotonic() > self._moved + _HANG_LIMIT:
            raise HangError(f"{self.name} does nothing after {self.work.count} operations")

    def stop(self) -> None:
        """Have it end."""
        self._guest.pwrite(self._fd, b"\1", 0)

    def close(self) -> None:
        """Forget its page."""
        self._guest.close(self._fd)


class Crew:
    """All of them."""

    def __init__(self, guest: Guest, seed: int, directory: str) -> None:
        self._guest = guest
        self._workers = [_Worker(guest, number, seed, directory) for number in range(WORKERS)]

    @property
    def work(self) -> Work:
        """What they had done at the last look."""
        total = Work()
        for worker in self._workers:
            total.add(worker.work)
        return total

    def look(self) -> Work:
        """What they have done by now. What is wrong, or hangs, is an exception."""
        for worker in self._workers:
            worker.look()
        return self.work

    def stop(self) -> list[dict[int, OwnFile]]:
        """Have them end, and tell what each one's files have to be, by inode number."""
        for worker in self._workers:
            worker.stop()
        deadline = time.monotonic() + _STOP_LIMIT
        while not all(worker.has_ended for worker in self._workers):
            self.look()
            if time.monotonic() > deadline:
                names = [worker.name for worker in self._workers if not worker.has_ended]
                raise HangError(f"told to stop, these do not: {', '.join(names)}")
        for worker in self._workers:
            worker.close()
        return [worker.own for worker in self._workers]

    def tell_where_they_wait(self) -> None:
        """Have the kernel's log say it."""
        self._guest.shell("echo w >/proc/sysrq-trigger; sleep 1")
