"""`make soak`: what a guest does, ten million times, while files change underneath and system calls fail.

After a warm-up, and after each tenth of the operations, the guest starts anew; at the end, memory, VMAs, descriptors
and what the counters add up to have to be what they were after the first tenth, and the last tenth as fast as the
second. The exit status is 1 if not.
"""

import argparse
import gc
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from daxmap import DaxMapper, FileServer, HostWindowBackend
from soak.actors import FILES, Guest, Host
from support.fuse_client import Client
from support.host import descriptors, vmas

WINDOW = 128 << 20
WARM_UP = 1_000_000
"""Until then the allocator takes memory that it keeps."""
PARTS = 10
HOST_ACTS = 50
"""So many operations of the guest are between two of the host."""
SHORTAGES = 1000
SHORT = 20
RESTARTS = 50_000
MEMORY = 4 << 20
"""Bytes that the process may have more at the end: the allocator's, and Python's."""
SPEED = 0.8
"""Of the second tenth's speed, what the last one's is to be at least."""


@dataclass(frozen=True)
class Sample:
    """What the process has."""

    memory: int
    areas: int
    descriptors: int

    @classmethod
    def now(cls) -> "Sample":
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return cls(pages * resource.getpagesize(), sum(1 for _ in vmas()), len(descriptors()))

    def has_grown_to(self, later: "Sample") -> list[str]:
        """What there is more of later."""
        grown = {
            "memory": later.memory > self.memory + MEMORY,
            "VMAs": later.areas > self.areas,
            "descriptors": later.descriptors > self.descriptors,
        }
        return [what for what, is_more in grown.items() if is_more]


@contextmanager
def scene(seed: int) -> Iterator[tuple[Guest, Host, DaxMapper]]:
    """A guest of a file server over a new directory."""
    dice = random.Random(seed)  # noqa: S311
    backend = HostWindowBackend()
    with tempfile.TemporaryDirectory() as name:
        for number in range(FILES):
            (Path(name) / f"{number:02}").write_bytes(bytes(4096 * number))
        with DaxMapper(1 << 32, WINDOW, backend) as mapper:
            guest = Guest(Client(FileServer(name, mapper=mapper)), mapper, dice)
            guest.leave()
            yield guest, Host(Path(name), dice), mapper
        backend.release()


def run(guest: Guest, host: Host, first: int, count: int) -> float:
    """Operations; how many there were a second of the processor's, which other programs disturb less than the clock."""
    started = time.process_time()
    for number in range(first, first + count):
        guest.act()
        if number % HOST_ACTS == 0:
            host.act()
        if number % SHORTAGES == 0:
            with host.short():
                for _ in range(SHORT):
                    guest.act()
        if number % RESTARTS == 0:
            guest.leave()
    return count / (time.process_time() - started)


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("operations", type=int, nargs="?", default=10_000_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    each = arguments.operations // PARTS
    with scene(arguments.seed) as (guest, host, mapper):
        run(guest, host, 0, WARM_UP)
        speeds, samples = [], []
        for part in range(PARTS):
            speeds.append(run(guest, host, part * each, each))
            guest.leave()
            samples.append(Sample.now())
            stats, sample = mapper.stats(), samples[-1]
            print(
                f"{(part + 1) * each:,} operations: {speeds[-1]:,.0f} a second, {guest.refused:,} refused,"
                f" {sample.memory >> 20} MiB, {sample.areas} VMAs, {sample.descriptors} descriptors,"
                f" {stats.setup_count:,} mappings set up",
                flush=True,
            )
        stats = mapper.stats()
        wrong = [f"more and more: {what}" for what in samples[0].has_grown_to(samples[-1])]
        if speeds[-1] < SPEED * speeds[1]:
            wrong.append(f"it became slow: {speeds[-1]:,.0f} operations a second, {speeds[1]:,.0f} at first")
        if stats.live_mappings or stats.leaked_count or stats.lost_count:
            wrong.append(f"the book: {stats}")
    print("\n".join(wrong) or "Nothing piles up.")
    return 1 if wrong else 0


sys.exit(main())
