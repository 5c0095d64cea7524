"""The soak itself: from a seed to an exit status."""

import argparse
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

from linux_guest.report import FAILURES
from linux_guest.soak import report
from linux_guest.soak.mounts import Soak
from linux_guest.soak.share import mounted_disk
from linux_guest.system import System
from support.paths import PROJECT

LOGS = PROJECT / "target" / "soak-guest"
"""Where they are kept after a failure."""


def run_soak(system: System, folder: Path, words: Sequence[str]) -> int:
    """The exit status: 1 if something was wrong."""
    parser = argparse.ArgumentParser(prog="make soak-guest")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    arguments = parser.parse_args(words)
    seed = arguments.seed
    print(f"Linux {system.kernel.version}, {arguments.minutes:g} minutes, SEED={seed}")
    print("The seed decides what is tried, and not how guest and host meet: that is never twice the same.", flush=True)
    folder.mkdir()
    with mounted_disk(folder / "disk") as disk:
        soak = Soak(system, folder, disk, seed)
        try:
            wrong = soak.run(arguments.minutes * 60)
        except FAILURES as error:
            wrong = [f"{error}" or type(error).__name__]
        print(report.table(soak.record, soak.host), flush=True)
    if not wrong:
        print("Nothing was wrong, and nothing piles up.")
        return 0
    _keep_logs(folder)
    print("\n".join(f"  FAIL {what}" for what in wrong))
    print(f"The logs are in {LOGS}. To try the same: SEED={seed}", flush=True)
    return 1


def _keep_logs(folder: Path) -> None:
    shutil.rmtree(LOGS, ignore_errors=True)
    LOGS.mkdir(parents=True)
    for log in folder.glob("*.log"):
        shutil.copy(log, LOGS)
