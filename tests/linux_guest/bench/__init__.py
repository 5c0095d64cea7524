"""What a guest gets of DAX: `make bench-guest`. Ratios only: where the guest is emulated, its times mean nothing.

One directory is mounted in several ways, one after the other, each time with cold caches; so often that a median can be
told. Then a second guest is booted beside the first, and reads what that has read.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from debian_packages.apt import Apt
from linux_guest.bench.memory import second_guest
from linux_guest.bench.mounts import booted
from linux_guest.bench.report import tables, write
from linux_guest.bench.work import fill, new_seconds, run_round
from linux_guest.machine import accelerator
from linux_guest.system import System

ROUNDS = 5


def run_bench(system: System, apt: Apt, cache: Path, folder: Path, options: Sequence[str]) -> int:
    """Measure, and print the tables; with --write, put them into the documentation."""
    started = time.monotonic()
    folder.mkdir()
    (host := folder / "files").mkdir()
    fill(host)
    seconds = new_seconds()
    with booted(system, apt, cache, folder / "first", host) as machine:
        for number in range(ROUNDS):
            run_round(machine, seconds, number)
            print(f"round {number + 1} of {ROUNDS} after {time.monotonic() - started:.0f} s", flush=True)
        memory = second_guest(system, apt, cache, folder / "second", host)
    how = accelerator().partition(",")[0]
    facts = (
        f"Linux {system.kernel.version} in QEMU {system.qemu.version} ({how}), on {os.cpu_count()} CPUs",
        f"medians of {ROUNDS} rounds, and the least and the most",
    )
    text = tables(facts, seconds, memory)
    print(text)
    if "--write" in options:
        print(f"written to {write(text)}")
    return 0
