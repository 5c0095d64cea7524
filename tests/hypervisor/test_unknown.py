"""Calls that raised, and whose undoing was refused too: nobody knows what the guest sees, so nothing is freed."""

from errno import EIO, ENOSPC

import pytest

from daxmap import DaxMapper
from support.files import HostFile
from support.host import PAGE, peek, vmas
from support.recording import (
    RECORDERS,
    AnyRecorder,
    Fault,
    ProtectingBackend,
    ProtectingHypervisor,
    RecordingHypervisor,
    check_books,
)

NO = Fault(raises=RuntimeError("no"))
LATE = Fault(raises=RuntimeError("no"), works_first=True)
LATE_INTERRUPT = Fault(raises=KeyboardInterrupt(), works_first=True)
REFUSED = Fault(returns=5)


def kept(file: HostFile) -> int:
    """How many pages of the file this process maps."""
    return sum(vma.end - vma.start for vma in vmas() if vma.shown.inode == file.inode) // PAGE


def check_guest_memory(recorder: AnyRecorder, file: HostFile) -> None:
    """Check that what the guest still sees is the file, and no memory that was freed."""
    if isinstance(recorder, RecordingHypervisor):
        for given in recorder.book.values():
            assert peek(given.host_address, given.length) == file.read(0, given.length)


def fail(mapper: DaxMapper, file: HostFile, *, writable: bool = False) -> None:
    with pytest.raises((OSError, KeyboardInterrupt)) as caught:
        mapper.setup_mapping(file.fd, 0, 0, PAGE, writable)
    assert getattr(caught.value, "errno", EIO) == EIO


@pytest.mark.parametrize("late", [LATE, LATE_INTERRUPT], ids=["exception", "interrupt"])
def test_a_map_that_may_have_worked_keeps_its_memory_until_the_next_mapping_there(
    recorder: AnyRecorder, mapper: DaxMapper, file: HostFile, late: Fault
) -> None:
    recorder.fail_next(late, REFUSED)
    fail(mapper, file)
    assert recorder.names == ["map", "unmap"]
    assert recorder.shown() == {0: (PAGE, False)}
    assert list(mapper) == []
    stats = mapper.stats()
    assert (stats.setup_count, stats.lost_count, stats.live_mappings) == (1, 1, 0)
    check_guest_memory(recorder, file)
    check_books(recorder, mapper)
    mapper.setup_mapping(file.fd, PAGE, 0, PAGE, writable=True)
    assert recorder.names[2:] == ["unmap", "map"], "asked for once more, then mapped"
    assert recorder.shown() == {0: (PAGE, True)}
    check_books(recorder, mapper)
    mapper.drain_all()
    assert kept(file) == 0


def test_a_map_that_did_not_work_is_settled_by_the_next_that_does(
    recorder: AnyRecorder, mapper: DaxMapper, file: HostFile
) -> None:
    recorder.fail_next(NO)  # the undoing fails by itself: nothing is there
    fail(mapper, file)
    assert kept(file) == isinstance(recorder, RecordingHypervisor)
    for _ in range(3):
        with pytest.raises(OSError, match="unknown"):
            mapper.remove_range(0, PAGE)
    mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False)
    assert kept(file) == isinstance(recorder, RecordingHypervisor)
    mapper.remove_range(0, PAGE)
    assert kept(file) == 0
    assert recorder.book == {}


ENDS = {
    "remove_range": lambda mapper: mapper.remove_range(0, 4 * PAGE),
    "reset": lambda mapper: mapper.reset(),
    "drain_all": lambda mapper: mapper.drain_all(),
}


@pytest.mark.parametrize("end", ENDS)
def test_what_the_guest_may_see_is_taken_from_it_by_the_next_removal(
    recorder: AnyRecorder, mapper: DaxMapper, file: HostFile, end: str
) -> None:
    recorder.fail_next(LATE, REFUSED)
    fail(mapper, file)
    ENDS[end](mapper)
    assert recorder.book == {}
    assert kept(file) == 0


def test_an_unmap_that_raised_is_asked_for_once_more(recorder: AnyRecorder, mapper: DaxMapper, file: HostFile) -> None:
    mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False)
    recorder.fail_next(NO)
    mapper.remove_mapping(0, PAGE)
    assert recorder.names == ["map", "unmap", "unmap"]
    assert recorder.book == {}
    check_books(recorder, mapper)
    assert kept(file) == 0


@pytest.mark.parametrize("late", [LATE, LATE_INTERRUPT], ids=["exception", "interrupt"])
def test_an_unmap_that_did_its_work_and_raised_leaves_no_range_out_of_use(
    recorder: AnyRecorder, mapper: DaxMapper, file: HostFile, late: Fault
) -> None:
    mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False)
    recorder.fail_next(late)  # asked once more, it finds nothing, and raises
    with pytest.raises((OSError, KeyboardInterrupt)):
        mapper.remove_mapping(0, PAGE)
    assert recorder.book == {}
    assert list(mapper) == []
    assert mapper.stats().lost_count == 1
    check_books(recorder, mapper)
    mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=True)
    mapper.remove_mapping(0, PAGE)
    assert kept(file) == 0


@pytest.mark.parametrize("kind", [ProtectingHypervisor, ProtectingBackend])
def test_a_protect_that_cannot_be_taken_back_leaves_no_access_that_the_book_denies(
    kind: type[ProtectingHypervisor | ProtectingBackend], file: HostFile
) -> None:
    recorder = kind()
    with recorder.mapper() as mapper:
        mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False)
        recorder.fail_next(LATE, REFUSED)
        fail(mapper, file, writable=True)
        assert recorder.names == ["map", "protect", "protect"]
        assert recorder.shown() == {0: (PAGE, True)}
        assert list(mapper) == [], "the book says nothing of a range that is unknown"
        assert mapper.stats().lost_count == 1
        check_guest_memory(recorder, file)
        mapper.remove_range(0, PAGE)
        assert recorder.book == {}
        assert kept(file) == 0


@pytest.mark.parametrize("recorder_kind", RECORDERS)
def test_unknown_ranges_are_bounded_by_the_budget(recorder_kind: type[AnyRecorder], file: HostFile) -> None:
    recorder = recorder_kind()
    with recorder.mapper(max_mappings=3) as mapper:
        for number in range(3):
            recorder.fail_next(LATE, REFUSED)
            with pytest.raises(OSError, match="unknown"):
                mapper.setup_mapping(file.fd, 0, number * PAGE, PAGE, writable=False)
        with pytest.raises(OSError, match="budget") as caught:
            mapper.setup_mapping(file.fd, 0, 3 * PAGE, PAGE, writable=False)
        assert caught.value.errno == ENOSPC
        mapper.setup_mapping(file.fd, 0, PAGE, PAGE, writable=False)  # settles one, and takes its place
        mapper.reset()
        assert recorder.book == {}
        for number in range(3):
            mapper.setup_mapping(file.fd, 0, number * PAGE, PAGE, writable=False)


def test_a_replacement_whose_new_mapping_may_be_seen_gives_the_old_one_back(
    recorder: AnyRecorder, mapper: DaxMapper, file: HostFile
) -> None:
    mapper.setup_mapping(file.fd, 0, 0, 4 * PAGE, writable=True)
    recorder.fail_next(None, NO)  # unmap, map; the undoing fails by itself
    with pytest.raises(OSError, match="no") as caught:
        mapper.setup_mapping(file.fd, 0, PAGE, PAGE, writable=False, replace=True)
    assert caught.value.errno == EIO
    assert recorder.shown() == {0: (4 * PAGE, True)}
    check_books(recorder, mapper)
    assert mapper.stats().lost_count == 0
    assert kept(file) == 4 * isinstance(recorder, RecordingHypervisor)
