"""A host without /proc, or without a quick way to ask it: refusals that do no harm close no window.

Each scenario runs in a process of its own, in which tests/support/faults.c stands between the mapper and the kernel.
"""

import ctypes
import platform
import sys
from collections.abc import Callable
from errno import EIO, ENOMEM, ENOTTY, EPERM
from pathlib import Path

import pytest

from support import faults
from support.children import Body, Scenarios, name_of, run_in_child
from support.damage import FREE, check_given_up, check_intruder_closes, opened, setup
from support.faults import Call, Effect, Fault
from support.forks import in_fork
from support.host import LIBC, PAGE
from support.limits import errno_of, no_more_areas, no_more_files
from support.rig import Rig, Subject
from support.rigs import address_of
from support.sandbox import needs_root, without_proc

scenario, of_a_host_window, of_chroot = Scenarios(), Scenarios(), Scenarios()
FOR_EVER = sys.maxsize
HAS_QUERY = tuple(map(int, platform.release().split(".")[:2])) >= (6, 11)


def setup_at(subject: Subject, offset: int, *, writable: bool = False) -> Callable[[], object]:
    return lambda: setup(subject, offset, writable=writable)


def read_so_far() -> int:
    """How many bytes were read of the descriptor of /proc/self/maps that the mapper keeps open."""
    entries = (entry for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink())  # the listing's is gone
    (kept,) = (entry.name for entry in entries if str(entry.readlink()).endswith("/maps"))
    return int(Path("/proc/self/fdinfo", kept).read_text().split()[1])


@scenario
def refusals_are_looked_into_without_reading_all_mappings(rig: Rig) -> None:
    subject = opened(rig)
    for writable in (False, True):
        offset = 0 if writable else FREE
        faults.plan(Call.PLACE, Fault(EPERM))
        with subject.refused(EPERM):
            setup(subject, offset, writable=writable)
    assert (read_so_far() == 0) == HAS_QUERY


@scenario
def without_the_query_all_mappings_are_read(rig: Rig) -> None:
    subject = opened(rig)
    subject.mapper.remove_mapping(PAGE, PAGE)
    del subject.model[PAGE]
    faults.plan(Call.QUERY, Fault(ENOTTY, times=FOR_EVER))
    for writable in (False, True):
        offset = 0 if writable else FREE
        faults.plan(Call.PLACE, Fault(EPERM))
        with subject.refused(EPERM):
            setup(subject, offset, writable=writable)
    assert read_so_far() > 0
    subject.map(rig.files[0], FREE)
    subject.agree()


@scenario
def without_the_query_an_intruder_is_found(rig: Rig) -> None:
    subject = opened(rig)
    faults.plan(Call.QUERY, Fault(ENOTTY, times=FOR_EVER))
    check_intruder_closes(subject)


@scenario
def refusals_are_looked_into_without_a_descriptor_left(rig: Rig) -> None:
    subject = opened(rig)
    for error in (0, ENOTTY):
        faults.plan(Call.QUERY, Fault(error, times=FOR_EVER) if error else None)
        with no_more_areas(), no_more_files():
            answer = errno_of(setup_at(subject, FREE))
        assert (answer, subject.mapper.closed) == (ENOMEM, False)
    subject.agree()


@of_a_host_window
def child_looks_at_its_own_mappings(rig: Rig) -> None:
    """Not at those of its parent, whose descriptor it has inherited."""
    opened(rig)

    def look() -> None:
        subject = opened(rig)  # where the parent has nothing
        for effect, closed in ((Effect.KEEP, False), (Effect.INTRUDE, True)):
            faults.plan(Call.PLACE, Fault(ENOMEM, effect))
            answer = errno_of(setup_at(subject, FREE))
            assert (answer, subject.mapper.closed) == (EIO if closed else ENOMEM, closed)

    in_fork(look)


@of_chroot
def proc_goes_away_later(rig: Rig) -> None:
    subject = opened(rig)
    with without_proc():
        for error in (0, ENOTTY):
            faults.plan(Call.QUERY, Fault(error, times=FOR_EVER) if error else None)
            for offset, writable in ((FREE, False), (0, True)):
                faults.plan(Call.PLACE, Fault(EPERM))
                assert errno_of(setup_at(subject, offset, writable=writable)) == EPERM
        assert not subject.mapper.closed
        setup(subject, FREE)
    subject.mapper.remove_mapping(FREE, PAGE)
    subject.agree()


@of_chroot
def proc_was_never_there(rig: Rig) -> None:
    """Then a hole is known by what can't be done with it."""
    file = rig.file(8)
    with without_proc():
        subject = rig.open(4 << 20)
        subject.map(file, 0)
        for offset in (FREE, PAGE):
            faults.plan(Call.PLACE, Fault(ENOMEM))
            assert errno_of(setup_at(subject, offset)) == ENOMEM
        with no_more_areas():
            assert errno_of(setup_at(subject, FREE)) == ENOMEM
        assert not subject.mapper.closed
        subject.map(file, FREE)
    subject.agree()


@of_chroot
def intruder_is_found_where_proc_was_never_there(rig: Rig) -> None:
    file = rig.file(8)
    with without_proc():
        subject = rig.open(4 << 20)
        subject.map(file, 0)
        address = address_of(subject.mapper) + FREE
        faults.plan(Call.PLACE, Fault(ENOMEM, Effect.INTRUDE))
        assert errno_of(setup_at(subject, FREE)) == EIO
    check_given_up(subject, address, swept=1, lost=0)


@of_chroot
def file_that_cannot_be_told_from_others_is_not_taken_for_the_mapped_one(rig: Rig) -> None:
    file = rig.file(8)
    with without_proc():
        subject = rig.open(4 << 20)
        subject.map(file, 0)
        faults.plan(Call.PLACE, Fault(EPERM))
        assert errno_of(setup_at(subject, 0, writable=True)) == EIO
    assert subject.mapper.closed
    subject.abandon()
    (left,) = rig.mapped()  # nobody touches it any more
    assert LIBC.munmap(ctypes.c_void_p(left.start), ctypes.c_size_t(left.end - left.start)) == 0


@pytest.mark.parametrize("body", scenario, ids=name_of)
def test_host(window_backend: str, fault_library: Path, tmp_path: Path, body: Body) -> None:
    run_in_child(body, window_backend, tmp_path, preload=fault_library)


@pytest.mark.parametrize("body", of_a_host_window, ids=name_of)
def test_host_window(fault_library: Path, tmp_path: Path, body: Body) -> None:
    run_in_child(body, "host-window", tmp_path, preload=fault_library)


@needs_root
@pytest.mark.parametrize("body", of_chroot, ids=name_of)
def test_chroot(window_backend: str, fault_library: Path, tmp_path: Path, body: Body) -> None:
    run_in_child(body, window_backend, tmp_path, preload=fault_library)
