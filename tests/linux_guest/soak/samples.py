"""What processes have and take, as /proc says."""

import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from linux_guest.server import Status
from linux_guest.soak.guest_work import Work


@dataclass(frozen=True)
class Sample:
    """What a process has."""

    memory: int
    """Bytes of its own: the guest's RAM, which it has mapped, is not counted."""
    areas: int
    descriptors: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> "Sample":
        """Now."""
        process = Path(f"/proc/{pid}")
        found = re.search(r"^RssAnon:\s+(\d+) kB$", (process / "status").read_text(), re.MULTILINE)
        assert found is not None, f"no RssAnon of {pid}"
        return cls(
            int(found[1]) * 1024,
            len((process / "maps").read_text().splitlines()),
            len(list((process / "fd").iterdir())),
            len(list((process / "task").iterdir())),
        )

    def __str__(self) -> str:
        memory = f"{self.memory / (1 << 20):.1f} MiB"
        return f"{memory}, {self.areas} VMAs, {self.descriptors} descriptors, {self.threads} threads"


@dataclass(frozen=True)
class Speed:
    """What was done in how many seconds of a processor."""

    operations: int
    seconds: float


@dataclass
class Record:
    """What came of a run so far."""

    work: Work = field(default_factory=Work)
    samples: list[Sample] = field(default_factory=list)
    """Of the server, after each unmount."""
    speeds: list[Speed] = field(default_factory=list)
    status: Status | None = None
    """The server's last one."""
    gone: int = 0
    """Pages that QEMU found gone."""
    warnings: Counter[str] = field(default_factory=Counter)
    """Of the guest's kernel."""


def processor_time(pid: int) -> float:
    """Seconds that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
