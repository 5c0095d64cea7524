"""Fixtures of the benchmarks, and the table that they end with."""

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from benches.compare import Benchmark, Compare, Figure
from benches.floor import SLOT, load_floor
from benches.table import as_text, write

_FIGURES = pytest.StashKey[list[Figure]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds `--write`."""
    parser.addoption("--write", action="store_true", help="put the table into docs/contributing/performance.md")


def pytest_configure(config: pytest.Config) -> None:
    """Makes room for the figures."""
    figures: list[Figure] = []
    config.stash[_FIGURES] = figures


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints the table, unless nothing was measured."""
    kept = config.stash[_FIGURES]
    figures = sorted(kept, key=lambda figure: figure.what)
    disabled = config.getoption("benchmark_disable") and not config.getoption("benchmark_enable")
    if disabled or not figures:
        return
    terminalreporter.section("daxmap against its floors")
    terminalreporter.write(as_text(figures))
    if config.getoption("--write"):
        terminalreporter.write_line(f"written to {write(figures)}")


@pytest.fixture
def compare(benchmark: Benchmark, request: pytest.FixtureRequest) -> Compare:
    """Measures figures of the table."""
    return Compare(benchmark, request.config.stash[_FIGURES])


@pytest.fixture(scope="session")
def floor(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The functions of floor.c."""
    try:
        return load_floor(tmp_path_factory.mktemp("floor"))
    except FileNotFoundError as error:
        pytest.skip(f"{error}: there is nothing to compare with")


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    """A file of one slot's length, in the page cache, open for reading and writing."""
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC)
    os.write(descriptor, bytes(range(256)) * (SLOT // 256))
    yield descriptor
    os.close(descriptor)
