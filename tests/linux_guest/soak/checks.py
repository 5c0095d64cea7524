"""What has to hold."""

import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from errno import ENOSPC
from pathlib import Path

from linux_guest.rig import RANGE, same
from linux_guest.server import Status
from linux_guest.soak.guest_work import KINDS, OwnFile, Work
from linux_guest.soak.samples import Sample, Speed
from linux_guest.soak.share import STILL_FILES
from linux_guest.soak.stamps import first_wrong, stamped

_TROUBLE = re.compile(
    r"WARNING:|BUG:|Oops|general protection|blocked for more than|rcu.* stall|lockup|panic - not syncing|Call Trace"
)
_WARNING = re.compile(r"\[ cut here \]-+\n[^\n]*WARNING: (\S+ at \w+).*?(?:end trace|\Z)", re.DOTALL)
_KNOWN = re.compile(
    r"truncate_pagecache.*fuse_change_attributes|at dax_fault_iter.*fuse_dax_fault|at dax_iomap_rw.*fuse_dax_write",
    re.DOTALL,
)
"""Linux 7.3 warns, once a boot at each of some places, where another has made a file shorter: fuse takes no lock then,
and does not first what DAX wants. In mm/truncate.c, `truncate_folio_batch_exceptionals`; in fs/dax.c,
`dax_delete_mapping_entry` if two do it at once, `dax_fault_iter` if a store comes at that moment, which is SIGBUS, and
`dax_iomap_rw` if a write(2) does, which is EIO."""
KNOWN = ", known"
MEMORY = 8 << 20
"""Bytes that the server may have more at the end than after the warm-up: the allocator's."""
AREAS = 8
"""The same, of VMAs: the allocator's too."""
SLOWEST = 0.5
"""Of the second tenth's speed, what the last one's is to be at least."""


def check_kernel_log(log: Path) -> None:
    """The guest's kernel has not crashed, and finds nothing that hangs. What it only warns of is looked at later."""
    text = _WARNING.sub("", log.read_text(errors="replace"))
    trouble = _TROUBLE.search(text)
    assert trouble is None, f"the guest's kernel says, in {log.name}: {text[trouble.start() :][:400]}"


def kernel_warnings(log: Path) -> Counter[str]:
    """Where the guest's kernel has warned."""
    reports = _WARNING.finditer(log.read_text(errors="replace"))
    return Counter(f"{report[1]}{KNOWN if _KNOWN.search(report[0]) else ''}" for report in reports)


def check_server_log(log: Path) -> None:
    """The server has not panicked."""
    text = log.read_text(errors="replace")
    for word in ("panicked", "Traceback"):
        assert word not in text, f"{log.name} has: {word}"


def check_counters(status: Status, window: int, *, is_quiet: bool) -> None:
    """The counters agree; when no request is under way, exactly."""
    stats = {name: status.count(name) for name in status.stats if not name.startswith("errors")}
    live = stats["live_mappings"]
    assert live <= window // RANGE, f"{live} live mappings in a window of {window // RANGE} ranges"
    assert stats["live_bytes"] <= window, f"{stats['live_bytes']} live bytes in a window of {window}"
    same((stats["leaked_count"], stats["lost_count"]), (0, 0), "mappings leaked and lost")
    if is_quiet:
        same(live, 0, "live mappings after an unmount")
        came = stats["setup_count"] + stats["split_count"]
        went = sum(stats[f"{name}_count"] for name in ("remove", "replaced", "swept"))
        same(went, came, "mappings that went, of those that came")


def check_files(share: Path, own: Sequence[dict[int, OwnFile]]) -> None:
    """The host's files have what belongs there; those of one writer have exactly what was written."""
    for number in range(STILL_FILES):
        path = share / f"still/{number:02}"
        content, inode = path.read_bytes(), path.stat().st_ino
        assert content == stamped(inode, 0, len(content), 0), f"{path}: it has changed"
    for number, files in enumerate(own):
        found = {path.stat().st_ino: path for path in (share / f"own/{number}").iterdir()}
        same(sorted(found), sorted(files), f"inode numbers of the files of worker {number}")
        for inode, path in found.items():
            content = path.read_bytes()
            same(OwnFile(len(content), zlib.crc32(content)), files[inode], f"{path}, size and checksum")
    for path in [*(share / "common").iterdir(), *(share / "own").rglob("*"), *(share / "contested").rglob("*")]:
        if path.is_file():
            at = first_wrong(path.read_bytes(), path.stat().st_ino)
            assert at is None, f"{path} has at {at} what does not belong there"


def unknown_warnings(warnings: Mapping[str, int]) -> list[str]:
    """Those of the guest's kernel that are not known."""
    return [f"the guest's kernel warns: {warning}" for warning in warnings if not warning.endswith(KNOWN)]


def growth(samples: Sequence[Sample]) -> list[str]:
    """What the server has more of at the end than after the first tenth."""
    first, last = samples[len(samples) // 10], samples[-1]
    grown = {
        "memory": last.memory > first.memory + MEMORY,
        "VMAs": last.areas > first.areas + AREAS,
        "descriptors": last.descriptors > first.descriptors,
        "threads": last.threads > first.threads,
    }
    return [f"more and more: {what}, from {first} to {last}" for what, is_more in grown.items() if is_more]


def absence(work: Work) -> list[str]:
    """What has not come, and so was not tried."""
    absent = [kind for kind in KINDS if not work.done[kind]]
    absent += [] if work.refused[ENOSPC] else ["a disk that is full"]
    absent += [] if work.faults else ["SIGBUS"]
    return [f"this never came: {', '.join(absent)}"] if absent else []


def slowness(speeds: Sequence[Speed]) -> list[str]:
    """Whether the last tenth was much slower than the second."""
    second, last = tenth(speeds, 1), tenth(speeds, 9)
    if last < SLOWEST * second:
        return [f"it became slow: {last:.0f} operations a second of QEMU's, {second:.0f} in the second tenth"]
    return []


def tenth(speeds: Sequence[Speed], number: int) -> float:
    """Operations a second of QEMU's processor time in a tenth of the run."""
    part = speeds[len(speeds) * number // 10 : len(speeds) * (number + 1) // 10]
    return sum(speed.operations for speed in part) / (sum(speed.seconds for speed in part) or 1)
