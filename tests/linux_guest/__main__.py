"""`make linux-guest`: Debian's kernels mount shares of `daxmap serve` with DAX, and find out whether files behave.

What this machine lacks does not fail the run, but it is said. LINUX_GUEST=require makes it a failure. RELEASES names
the releases of Debian whose kernels are booted, CPUS how many processors they get, ACCEL QEMU's accelerator, DAXMAP the
command that serves, and PATIENCE how many times longer than usual a guest may take.
"""

import sys
import time
from pathlib import Path

from debian_packages.apt import Apt
from debian_packages.cache import CACHE, run_folder
from debian_packages.skipping import SkippedError, skipped
from emulation.processes import end_what_was_started
from linux_guest.bench import run_bench
from linux_guest.report import Report
from linux_guest.run import run_checks, run_shell
from linux_guest.soak.run import run_soak
from linux_guest.system import System, set_up


def main(arguments: list[str]) -> int:
    """`shell [OPTIONS]` is for a person, `bench` measures, `soak` takes long; other words choose checks by name."""
    end_what_was_started()
    with run_folder(CACHE) as folder:
        try:
            systems = set_up(CACHE, folder)
        except SkippedError as reason:
            return skipped(reason, "LINUX_GUEST")
        if arguments[:1] == ["soak"]:
            return run_soak(systems[-1], folder / "soak", arguments[1:])
        if arguments[:1] == ["bench"]:
            return run_bench(systems[-1], Apt(CACHE / "apt"), CACHE, folder / "bench", arguments[1:])
        if arguments[:1] == ["shell"]:
            return run_shell(systems[-1], folder / "shell", arguments[1:])
        return check_all(systems, folder, arguments)


def check_all(systems: list[System], folder: Path, words: list[str]) -> int:
    """The exit status: 1 if a check failed."""
    started = time.monotonic()
    report = Report(words)
    for number, system in enumerate(systems):
        run_checks(system, folder / str(number), report)
    print(f"{report.totals()} in {time.monotonic() - started:.0f} s", flush=True)
    return 1 if report.failed else 0


sys.exit(main(sys.argv[1:]))
