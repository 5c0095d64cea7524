"""Allocations, bytes of heap, instructions, and whether the interpreter is let go: counted, since counts repeat."""

import ctypes
import logging
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from daxmap import DaxMapper
from support import tally
from support.children import Body, Scenarios, name_of, run_in_child
from support.files import HostFile
from support.host import PAGE
from support.pairs import SLOT
from support.programs import TIMEOUT, with_support
from support.rig import Rig

MANY = 30_000
SLOTS = 64

INSTRUCTIONS = 4_900 if sys.version_info < (3, 12) else 5_300
"""At most, for a pair. 4,850 with CPython 3.11, 5,180 with 3.12, 5,080 with 3.13: docs/contributing/performance.md."""

tallied = Scenarios()


def once(mapper: DaxMapper, file: HostFile) -> None:
    """Every operation that replaces mappings."""
    for slot in range(4, 8):
        mapper.setup_mapping(file.fd, 0, slot * SLOT, SLOT, writable=False)
    mapper.setup_mapping(file.fd, 0, 4 * SLOT, SLOT, writable=True)
    mapper.remove_mapping(4 * SLOT, SLOT)
    mapper.remove_mappings([(5 * SLOT, SLOT), (6 * SLOT, SLOT)])
    mapper.reset()


def warmed_up(rig: Rig) -> tuple[DaxMapper, HostFile]:
    """A mapper that has done everything once before."""
    mapper, file = rig.open(SLOTS * SLOT).mapper, rig.file(1)
    once(mapper, file)
    mapper.setup_mapping(file.fd, 0, 0, SLOT, writable=False)
    return mapper, file


@tallied
def pairs_allocate_nothing(rig: Rig) -> None:
    mapper, file = warmed_up(rig)
    assert not logging.getLogger("daxmap").isEnabledFor(logging.DEBUG)
    before = tally.allocations()
    for _ in range(1000):
        mapper.setup_mapping(file.fd, 0, SLOT, SLOT, writable=False)
        mapper.remove_mapping(SLOT, SLOT)
    assert tally.allocations() == before


@tallied
def upgrades_allocate_nothing(rig: Rig) -> None:
    mapper, file = warmed_up(rig)
    for slot in range(2, 40):
        mapper.setup_mapping(file.fd, 0, slot * SLOT, SLOT, writable=False)
    before = tally.allocations()
    for slot in range(2, 40):
        mapper.setup_mapping(file.fd, 0, slot * SLOT, SLOT, writable=True)
    assert tally.allocations() == before


@tallied
def the_kernel_is_waited_for_without_the_interpreter(rig: Rig) -> None:
    before = tally.mapped_attached()
    mapper, file = warmed_up(rig)
    once(mapper, file)
    mapper.drain_all()
    assert tally.mapped_attached() == before


@pytest.mark.parametrize("body", tallied, ids=name_of)
def test_tally(window_backend: str, tmp_path: Path, compile_c: Callable[[str], Path], body: Body) -> None:
    run_in_child(body, window_backend, tmp_path, preload=compile_c("tally"))


class _Mallinfo(ctypes.Structure):
    """`struct mallinfo2` of mallinfo2(3)."""

    _fields_ = (
        ("arena", ctypes.c_size_t),
        ("counts", ctypes.c_size_t * 3),
        ("hblkhd", ctypes.c_size_t),
        ("unused", ctypes.c_size_t * 2),
        ("uordblks", ctypes.c_size_t),
        ("fordblks", ctypes.c_size_t),
        ("keepcost", ctypes.c_size_t),
    )
    hblkhd: int
    uordblks: int


def bytes_of_heap() -> int:
    """Bytes that malloc(3) has given out."""
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = _Mallinfo
    info: _Mallinfo = mallinfo()
    return info.uordblks + info.hblkhd


def mapping_many(rig: Rig) -> None:
    mapper, file = rig.open(MANY * PAGE, max_mappings=MANY).mapper, rig.file(1)
    upwards = range(MANY)
    for pages in (upwards, upwards[::-1], Random(0).sample(upwards, MANY)):  # noqa: S311
        before = bytes_of_heap()
        for page in pages:
            mapper.setup_mapping(file.fd, 0, page * PAGE, PAGE, writable=False)
        assert 56 <= (bytes_of_heap() - before) / MANY < 128  # offset, length, file offset, file, access
        mapper.reset()
        assert bytes_of_heap() - before < MANY  # malloc keeps a few blocks at hand


def test_a_mapping_takes_less_than_128_bytes_of_heap(tmp_path: Path) -> None:
    if not hasattr(ctypes.CDLL(None), "mallinfo2"):
        pytest.skip("no mallinfo2 (glibc 2.33 or later): the heap cannot be measured")
    run_in_child(mapping_many, "host-window", tmp_path)


def instructions(valgrind: str, directory: Path, count: int) -> int:
    """User instructions of a process that makes so many pairs, as callgrind counts them."""
    instrument = [valgrind, "--tool=callgrind", f"--callgrind-out-file={directory / 'callgrind'}"]
    program = [sys.executable, "-m", "support.pairs", sys.executable, str(count)]
    done = subprocess.run(
        [*instrument, *program],
        env=with_support(PYTHONHASHSEED="0"),
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT,
    )
    collected = re.search(r"Collected : (\d+)", done.stderr)
    assert collected, done.stderr
    return int(collected[1])


def test_a_pair_takes_few_instructions(tmp_path: Path) -> None:
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        pytest.skip("no valgrind: instructions cannot be counted")
    few, many = 100, 2100
    pairs = instructions(valgrind, tmp_path, many) - instructions(valgrind, tmp_path, few)
    assert pairs / (many - few) <= INSTRUCTIONS
