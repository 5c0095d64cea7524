"""Benchmarks that are Rust programs: `cargo bench` runs them, and each line that they print is a round."""

import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from benches.compare import Times

ROOT = Path(__file__).parents[1]


def rounds_of(package: str, bench: str) -> dict[str, Times]:
    """The program's rounds, by what was measured: a line has that, and the nanoseconds of contender and floor."""
    cargo = shutil.which("cargo")
    if cargo is None:
        pytest.skip("no cargo: what is in Rust can't be measured without Python")
    command = [cargo, "bench", "--quiet", "--locked", "--package", package, "--bench", bench]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
    rounds = defaultdict(list)
    for line in done.stdout.splitlines():
        what, contender, floor = line.split("\t")
        rounds[what].append((float(contender) / 1e9, float(floor) / 1e9))
    return rounds
