"""What a person sees: a line for each mount, and a table at the end."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping

from linux_guest.server import Status
from linux_guest.soak.checks import tenth
from linux_guest.soak.guest_work import Work
from linux_guest.soak.host_actions import Host
from linux_guest.soak.samples import Record, Sample

_COUNTERS = ("setup", "upgrade", "remove", "swept")


def line(number: int, seconds: float, work: Work, status: Status, sample: Sample) -> str:
    """One mount."""
    return (
        f"  ok   mount {number} ({seconds:.0f} s): {work.count:,} operations, {status.count('setup_count'):,} mappings"
        f" in all; {sample}"
    )


def table(record: Record, host: Host) -> str:
    """All of it, or what there is."""
    work, samples, status = record.work, record.samples, record.status
    if status is None:
        return "There was no mount to its end."
    speeds = " ".join(f"{tenth(record.speeds, number):.0f}" for number in range(10))
    return "\n".join(
        [
            *_rows("the guest", work.done.items()),
            *_rows("the guest was refused", [*_by_name(work.refused), ("SIGBUS", work.faults)]),
            *_rows("the host", sorted(host.done.items())),
            *_rows("the host was refused", _by_name(host.refused)),
            *_rows("mappings", [(name, status.count(f"{name}_count")) for name in _COUNTERS]),
            *_rows("pages gone", [("found by QEMU", record.gone), ("seen by a worker", work.gone)]),
            *_rows("warnings of the guest's kernel", record.warnings.items()),
            f"daxmap serve after the first mount and the last: {samples[0]}; {samples[-1]}",
            f"operations a second of QEMU's processor time, by tenths: {speeds}",
        ]
    )


def _rows(title: str, counts: Iterable[tuple[str, int]]) -> list[str]:
    return [f"{title}:", *(f"  {name:36}{count:>12,}" for name, count in counts)]


def _by_name(refused: Mapping[int, int]) -> list[tuple[str, int]]:
    return [(f"{os.strerror(number)} ({number})", count) for number, count in Counter(refused).most_common()]
