"""The same system calls made from Python by other means."""

import ctypes
from pathlib import Path

import pytest

from benches.bench_pair import GAP
from benches.compare import Compare
from benches.foreign import CffiMapper, CtypesMapper
from benches.windows import LIVE, PairMapper, Windows, every_other, pairs


def compare_with(compare: Compare, windows: Windows, foreign: PairMapper, name: str, bar: float) -> None:
    """Both in windows with the same neighbours."""
    theirs = pairs(foreign, windows.fd, GAP)
    compare("pair, gap", windows.pairs(GAP), theirs, against=f"{name}, same calls", bar=bar)


def test_ctypes(compare: Compare, floor: ctypes.CDLL, fd: int) -> None:
    with Windows(floor, fd, every_other(0, LIVE)) as windows:
        compare_with(compare, windows, CtypesMapper(windows.bare), "ctypes", bar=0.60)


def test_cffi(compare: Compare, floor: ctypes.CDLL, fd: int, tmp_path: Path) -> None:
    cffi = pytest.importorskip("cffi")
    with Windows(floor, fd, every_other(0, LIVE)) as windows:
        compare_with(compare, windows, CffiMapper(windows.bare, cffi, tmp_path), "cffi", bar=0.75)
