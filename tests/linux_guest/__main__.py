"""`make linux-guest`: Debian's kernels mount shares of `daxmap serve` with DAX, and find out whether files behave.

Nothing of what is missing on this machine fails the run, but it is said. LINUX_GUEST=require makes it a failure.
"""

import os
import signal
import sys
import time
from pathlib import Path

from linux_guest.cache import clear_interrupted
from linux_guest.debian import Apt
from linux_guest.initramfs import build_agent, get_busybox
from linux_guest.kernels import RELEASES, get_kernel
from linux_guest.qemu import get_qemu
from linux_guest.report import Report
from linux_guest.run import System, run_checks, run_shell
from linux_guest.skipping import SkippedError

CACHE = Path(__file__).parents[2] / "target" / "linux-guest"


def main(arguments: list[str]) -> int:
    """`shell [OPTIONS]` is for a person, `[WORD...]` for the checks whose names have one of these words."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))  # so that what was started is ended
    started = time.monotonic()
    CACHE.mkdir(parents=True, exist_ok=True)
    clear_interrupted(CACHE)
    try:
        systems = set_up(CACHE)
    except SkippedError as reason:
        print(f"SKIPPED: {reason}", flush=True)
        return 1 if os.environ.get("LINUX_GUEST") == "require" else 0
    print(f"QEMU {systems[0].qemu.version}", flush=True)
    if arguments[:1] == ["shell"]:
        return run_shell(systems[-1], CACHE, arguments[1:])
    report = Report(arguments)
    for system in systems:
        run_checks(system, CACHE, report)
    print(f"{report.totals()} in {time.monotonic() - started:.0f} s")
    return 1 if report.failed else 0


def set_up(cache: Path) -> list[System]:
    """Fetch what is not there yet."""
    apt = Apt(cache / "apt")
    qemu = get_qemu(apt, cache)
    busybox = get_busybox(apt, cache)
    kernels = [get_kernel(apt, cache, release) for release in RELEASES]
    agent = build_agent(cache)
    return [System(qemu, kernel, busybox, agent) for kernel in kernels]


sys.exit(main(sys.argv[1:]))
