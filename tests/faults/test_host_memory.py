"""Host memory under a hypervisor that munmap(2) does not free: it is told, and the window goes on without it.

Each scenario runs in a process of its own, in which tests/support/faults.c stands between the mapper and the kernel.
"""

import ctypes
import logging
from collections.abc import Callable
from errno import ENOMEM
from pathlib import Path

import pytest

from support import faults
from support.children import Body, Scenarios, name_of, run_in_child
from support.faults import Call, Fault
from support.host import LIBC, PAGE
from support.records import LOGGER, Recorder
from support.rig import Rig, Subject

scenario = Scenarios()


def opened(rig: Rig) -> Subject:
    """A mapper with a mapping of three pages."""
    subject = rig.open()
    subject.map(rig.file(3), 0, 3 * PAGE)
    return subject


def told_of_failure(rig: Rig, page: int, count: int, call: Callable[[], object]) -> str:
    """What is logged when the host memory of pages of the mapping is not freed in a call. It is freed afterwards."""
    [mapping] = rig.mapped()
    address = mapping.start + page * PAGE
    faults.plan(Call.FREE, Fault(ENOMEM, address=address))
    recorder = Recorder()
    LOGGER.addHandler(recorder)
    call()
    LOGGER.removeHandler(recorder)
    assert any(piece.start <= address < piece.end for piece in rig.mapped())
    assert LIBC.munmap(ctypes.c_void_p(address), ctypes.c_size_t(count * PAGE)) == 0
    [said] = recorder.take(logging.WARNING)
    return said


@scenario
def memory_of_a_removed_mapping(rig: Rig) -> None:
    subject = opened(rig)
    said = told_of_failure(rig, 0, 3, lambda: subject.remove(0, 3 * PAGE))
    assert "stays mapped, unused, since munmap failed" in said
    subject.agree()


@scenario
def memory_that_was_cut_out_of_a_mapping(rig: Rig) -> None:
    subject = opened(rig)
    said = told_of_failure(rig, 1, 1, lambda: subject.remove_range(PAGE, PAGE))
    assert f"{PAGE:#x} bytes of host memory stay mapped, unused" in said
    subject.agree()


@scenario
def memory_that_a_device_had_longer_than_the_guest(rig: Rig) -> None:
    subject = opened(rig)
    mapper = subject.mapper
    lent = mapper.resolve(mapper.base, PAGE, writable=False)
    lent.__enter__()
    mapper.reset()
    said = told_of_failure(rig, 0, 3, lambda: lent.__exit__(None, None, None))
    assert f"{3 * PAGE:#x} bytes of host memory stay mapped, unused" in said
    subject.model = {}
    subject.agree()


@pytest.mark.parametrize("body", scenario, ids=name_of)
def test_fault(fault_library: Path, tmp_path: Path, body: Body) -> None:
    run_in_child(body, "hypervisor", tmp_path, preload=fault_library)
