"""A host that has run out of something, for real: what it refuses is refused, and later all goes on."""

from collections.abc import Callable
from errno import EAGAIN, EIO, EMFILE, ENOMEM
from pathlib import Path

import pytest

from daxmap import KvmBackend
from support.children import Body, Scenarios, name_of, run_in_child
from support.host import PAGE, vmas
from support.limits import errno_of, little_locked_memory, little_memory, no_more_areas, no_more_files
from support.rig import Rig, Subject
from support.rigs import KvmRig

of_any, of_windows, of_kvm, of_hypervisors = Scenarios(), Scenarios(), Scenarios(), Scenarios()
MIB = 1 << 20
OFFSETS = [page * PAGE for page in range(0, 64, 8)]


def opened(rig: Rig) -> Subject:
    """A mapper with mappings in a row that has gaps; its files' device is proven for both accesses."""
    subject = rig.open(64 * MIB)
    file = rig.file(8)
    subject.map(file, 0, writable=True)
    subject.remove(0)
    for offset in OFFSETS:
        subject.map(file, offset, 2 * PAGE)
    return subject


def setup(subject: Subject, offset: int, length: int = PAGE, *, writable: bool = False) -> Callable[[], object]:
    return lambda: subject.mapper.setup_mapping(subject.rig.files[0].fd, 0, offset, length, writable)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def check_that_all_works(subject: Subject) -> None:
    subject.agree()
    file = subject.rig.files[0]
    subject.map(file, 5 * PAGE)
    for offset in list(subject.model)[:2]:
        subject.remove(offset, subject.model[offset].length)
    subject.map(file, 64 * PAGE, 16 * PAGE, writable=True)
    subject.agree()
    subject.mapper.reset()
    subject.model.clear()
    subject.agree()


# Memory areas.


@of_windows
def setups_without_an_area_left_fail(rig: Rig) -> None:
    subject = opened(rig)
    holes = [offset + 4 * PAGE for offset in OFFSETS]
    with no_more_areas():
        answers = [errno_of(setup(subject, offset)) for offset in holes]
        live, closed = len(subject.mapper), subject.mapper.closed
    assert set(answers) == {ENOMEM}
    assert (live, closed) == (len(OFFSETS), False)
    assert subject.mapper.stats().errors == {ENOMEM: len(holes)}
    check_that_all_works(subject)


@of_hypervisors
def memory_without_an_area_left_is_refused(rig: Rig) -> None:
    subject = opened(rig)
    with no_more_areas():
        answers = [errno_of(setup(subject, offset + 4 * PAGE)) for offset in OFFSETS]
    assert answers[2:] == [ENOMEM] * (len(OFFSETS) - 2)  # the kernel lets a process have a few more
    subject.adopt_book()
    check_that_all_works(subject)


@of_windows
def what_needs_no_area_more_works_without_one(rig: Rig) -> None:
    subject = opened(rig)
    with no_more_areas():
        upgraded = errno_of(setup(subject, 0, 2 * PAGE, writable=True))
        removed = errno_of(lambda: subject.mapper.remove_mapping(8 * PAGE, 2 * PAGE))
        placed = errno_of(setup(subject, 8 * PAGE, 2 * PAGE))
    assert (upgraded, removed, placed) == (0, 0, 0)
    subject.adopt_book()
    check_that_all_works(subject)


@of_windows
def removal_that_needs_an_area_more_is_refused_or_done(rig: Rig) -> None:
    """A batch of all but the outermost: whichever of them are removed, the book is true."""
    subject = opened(rig)
    entries = [(offset, 2 * PAGE) for offset in OFFSETS]
    with no_more_areas():
        result = subject.mapper.remove_mappings(entries[1:-1])
        failed = list(result.failed)
    assert result.removed + len(failed) == len(entries) - 2
    assert {errno for _, _, errno in failed} <= {EIO}
    subject.adopt_book()
    assert len(subject.model) == 2 + len(failed)
    check_that_all_works(subject)


@of_any
def drain_without_an_area_left_leaves_nothing(rig: Rig) -> None:
    subject = opened(rig)
    with no_more_areas():
        subject.mapper.drain_all()
    stats = subject.mapper.stats()
    assert (stats.swept_count, stats.leaked_count, stats.live_mappings) == (len(OFFSETS), 0, 0)
    subject.model.clear()
    subject.agree()
    assert rig.mapped() == []


# Address space.


@of_windows
def window_that_does_not_fit_the_address_space_is_refused(rig: Rig) -> None:
    before = len(list(vmas()))
    with little_memory(32 * MIB):
        assert errno_of(lambda: rig.open(64 * MIB)) == ENOMEM
    assert len(list(vmas())) <= before + 2
    rig.file()
    subject = rig.open(64 * MIB)
    subject.map(rig.files[0], 0)
    subject.agree()


@of_windows
def window_works_on_where_the_address_space_is_full(rig: Rig) -> None:
    """Its addresses are its own already: nothing is needed but for the trial of a device that is new to it."""
    subject = opened(rig)
    with little_memory(8 * MIB):
        answers = [errno_of(setup(subject, at * MIB, 16 * MIB, writable=at > 20)) for at in (16, 32)]
    assert answers == [0, 0]
    subject.adopt_book()
    check_that_all_works(subject)


@of_windows
def first_file_of_a_device_needs_address_space(rig: Rig) -> None:
    subject = rig.open(64 * MIB)
    rig.file()
    with little_memory(8 * MIB):
        refused = errno_of(setup(subject, 0, 16 * MIB))
        done = errno_of(setup(subject, 0))
    assert (refused, done) == (ENOMEM, 0)
    subject.adopt_book()
    subject.agree()


@of_hypervisors
def setup_that_does_not_fit_the_address_space_is_refused(rig: Rig) -> None:
    subject = opened(rig)
    with little_memory(8 * MIB):
        answers = [errno_of(setup(subject, 16 * MIB, 16 * MIB, writable=writable)) for writable in (False, True)]
    assert answers == [ENOMEM, ENOMEM]
    check_that_all_works(subject)


# Locked memory.


@of_any
def memory_that_cannot_be_locked_is_refused(rig: Rig) -> None:
    subject = opened(rig)
    with little_locked_memory(4 * MIB):
        answers = [errno_of(setup(subject, 16 * MIB, 16 * MIB, writable=writable)) for writable in (False, True)]
    assert answers == [EAGAIN, EAGAIN]
    check_that_all_works(subject)


@of_windows
def hole_that_cannot_be_locked_is_not_put(rig: Rig) -> None:
    subject = opened(rig)
    large = (16 * MIB, 16 * MIB)
    subject.map(rig.files[0], *large)
    with little_locked_memory(4 * MIB):
        removed = errno_of(lambda: subject.mapper.remove_mapping(*large))
        failed = list(subject.mapper.remove_mappings([large, (0, 2 * PAGE)]).failed)
    assert removed == EIO
    assert failed == [(*large, EIO)]
    del subject.model[0]
    subject.agree()
    subject.remove(*large)
    check_that_all_works(subject)


# Files.


@of_kvm
def memslot_needs_a_descriptor(rig: Rig) -> None:
    assert isinstance(rig, KvmRig)
    before = open_files()
    with no_more_files():
        refused = errno_of(lambda: KvmBackend(rig.vm.fd, 9))
    assert refused == EMFILE
    assert open_files() == before
    subject = rig.open()
    subject.map(rig.file(), 0)
    subject.agree()


@of_any
def window_works_on_without_descriptors(rig: Rig) -> None:
    subject = opened(rig)
    with no_more_files():
        answers = [
            errno_of(setup(subject, 3 * PAGE)),
            errno_of(setup(subject, 3 * PAGE, writable=True)),
            errno_of(lambda: subject.mapper.remove_mapping(3 * PAGE, PAGE)),
            errno_of(lambda: subject.mapper.read(subject.mapper.base, PAGE)),
        ]
    assert answers == [0, 0, 0, 0]
    check_that_all_works(subject)


@pytest.mark.parametrize("body", of_any + of_windows, ids=name_of)
def test_window(window_backend: str, tmp_path: Path, body: Body) -> None:
    run_in_child(body, window_backend, tmp_path)


@pytest.mark.usefixtures("needs_kvm")
@pytest.mark.parametrize("body", of_kvm, ids=name_of)
def test_kvm(tmp_path: Path, body: Body) -> None:
    run_in_child(body, "kvm", tmp_path)


@pytest.mark.parametrize("body", of_any + of_hypervisors, ids=name_of)
def test_hypervisor(tmp_path: Path, body: Body) -> None:
    run_in_child(body, "hypervisor", tmp_path)
