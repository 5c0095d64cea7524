"""The Rust core without Python: rust/daxmap-core/benches/pair, run by cargo."""

import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from benches.compare import Compare, Times

ROOT = Path(__file__).parents[1]
COMMAND = ("bench", "--quiet", "--locked", "--package", "daxmap-core", "--bench", "pair")
CASES = [("pair, gap", "obvious loop in Rust", 1.08), ("setup, 10,000 live", "HashMap scanned in Rust", None)]


def run() -> dict[str, Times]:
    """The program's rounds, by what was measured."""
    cargo = shutil.which("cargo")
    if cargo is None:
        pytest.skip("no cargo: the core can't be measured without Python")
    done = subprocess.run([cargo, *COMMAND], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
    rounds = defaultdict(list)
    for line in done.stdout.splitlines():
        what, contender, floor = line.split("\t")
        rounds[what].append((float(contender) / 1e9, float(floor) / 1e9))
    return rounds


def test_core(compare: Compare) -> None:
    rounds = compare.once(run)
    for what, against, bar in CASES:
        compare.record(f"Rust core: {what}", rounds[what], against=against, bar=bar)
