"""Runs the benchmarks and prints the table. Arguments go to pytest; `--write` puts the table into the docs."""

import sys
from pathlib import Path

import pytest

_OPTIONS = ("-q", "-o", "python_files=bench_*.py", "--benchmark-enable", "--benchmark-quiet", "--benchmark-disable-gc")

sys.exit(pytest.main([str(Path(__file__).parent), *_OPTIONS, *sys.argv[1:]]))
