"""Taking everything away: reset, drain, close, and a mapper that is dropped."""

import logging
from collections.abc import Callable
from errno import ENODEV

import pytest

from daxmap import DaxMapper
from support.host import PAGE
from support.rig import WINDOW_SIZE, Rig, Subject


def fill(subject: Subject) -> None:
    """Neighbours, gaps, both accesses, and a mapping past the end of its file."""
    file = subject.rig.file(4)
    subject.map(file, 0, file_offset=PAGE)
    subject.map(file, PAGE, 2 * PAGE, writable=True)
    subject.map(subject.rig.file(1), 8 * PAGE, 4 * PAGE)
    subject.map(file, WINDOW_SIZE - PAGE)
    subject.agree()


def test_reset_takes_all_and_the_mapper_goes_on(subject: Subject) -> None:
    for round_ in range(1, 4):
        fill(subject)
        subject.mapper.reset()
        subject.model.clear()
        subject.agree()
        assert not subject.mapper.closed
        stats = subject.mapper.stats()
        assert (stats.swept_count, stats.remove_count, stats.peak_mappings) == (4 * round_, 0, 4)


def test_reset_of_an_empty_window(subject: Subject) -> None:
    with subject.untouched():
        subject.mapper.reset()


@pytest.mark.parametrize(
    "drain", [DaxMapper.drain_all, DaxMapper.close, lambda mapper: mapper.__exit__(None, None, None)]
)
def test_drain_takes_all_and_closes(subject: Subject, drain: Callable[[DaxMapper], None]) -> None:
    fill(subject)
    assert not subject.mapper.closed
    drain(subject.mapper)
    subject.model.clear()
    assert subject.mapper.closed
    subject.agree()
    assert subject.rig.mapped() == []
    stats = subject.mapper.stats()
    assert (stats.swept_count, stats.leaked_count, stats.lost_count) == (4, 0, 0)
    with subject.untouched():
        subject.mapper.drain_all()
        subject.mapper.close()


def test_context_manager_is_the_mapper_and_drains_when_an_exception_passes(subject: Subject) -> None:
    def leave_by_an_exception() -> None:
        with subject.mapper as entered:
            assert entered is subject.mapper
            subject.map(subject.rig.file(), 0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        leave_by_an_exception()
    subject.model.clear()
    assert subject.mapper.closed
    subject.agree()


CALLS: dict[str, Callable[[DaxMapper, int], object]] = {
    "setup_mapping": lambda mapper, fd: mapper.setup_mapping(fd, 0, 0, PAGE, writable=False),
    "remove_mapping": lambda mapper, _: mapper.remove_mapping(0, PAGE),
    "remove_mappings": lambda mapper, _: mapper.remove_mappings([(0, PAGE)]),
    "remove_mappings of none": lambda mapper, _: mapper.remove_mappings([]),
    "reset": lambda mapper, _: mapper.reset(),
    "read": lambda mapper, _: mapper.read(mapper.base, 1),
    "write": lambda mapper, _: mapper.write(mapper.base, b"x"),
    "map_file": lambda mapper, fd: mapper.map_file(fd),
    "refresh": lambda mapper, fd: mapper.refresh(fd),
    "resolve": lambda mapper, _: mapper.resolve(mapper.base, 1, writable=False).__enter__(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_calls_after_drain_are_refused(subject: Subject, call: Callable[[DaxMapper, int], object]) -> None:
    file = subject.rig.file()
    subject.map(file, 0, writable=True)
    subject.mapper.drain_all()
    subject.model.clear()
    with subject.refused(ENODEV):
        call(subject.mapper, file.fd)


def test_looking_after_drain_still_works(subject: Subject) -> None:
    fill(subject)
    base = subject.mapper.base
    subject.mapper.drain_all()
    assert list(subject.mapper) == []
    assert len(subject.mapper) == 0
    assert subject.mapper.lookup(0) is None
    assert subject.mapper.stats().setup_count == 4
    assert (subject.mapper.base, subject.mapper.size, subject.mapper.page_size) == (base, WINDOW_SIZE, PAGE)
    assert "closed" in repr(subject.mapper)


def test_iteration_is_of_one_moment(subject: Subject) -> None:
    fill(subject)
    iterator = iter(subject.mapper)
    subject.mapper.reset()
    assert len(list(iterator)) == 4
    assert list(subject.mapper) == []


@pytest.mark.parametrize("live", [0, 3])
def test_mapper_dropped_without_drain_warns_and_cleans_up(
    rig: Rig, caplog: pytest.LogCaptureFixture, live: int
) -> None:
    dropped = rig.open(2 << 20)
    file = rig.file()
    for page in range(live):
        dropped.map(file, page * PAGE, writable=True)
    base, release = dropped.mapper.base, dropped.release
    rig.subjects.remove(dropped)
    with pytest.warns(ResourceWarning, match="drain_all"), caplog.at_level(logging.WARNING, "daxmap"):
        del dropped
    records = [record for record in caplog.records if record.name == "daxmap"]
    assert [record.levelno for record in records] == [logging.WARNING]
    assert hex(base) in records[0].getMessage()
    assert f"{live} live" in records[0].getMessage()
    assert rig.mapped() == []
    release()
    again = rig.attach(base, 2 << 20, readonly=False, max_mappings=None)  # the guest has nothing there any more
    rig.subjects.append(again)
    again.map(file, 0)
    again.agree()


def test_drained_mapper_is_dropped_in_silence(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    dropped = rig.open(2 << 20)
    dropped.map(rig.file(), 0)
    dropped.finish()
    rig.subjects.remove(dropped)
    with caplog.at_level(logging.WARNING, "daxmap"):
        del dropped
    assert caplog.records == []


def test_repr_shows_range_and_counts(rig: Rig) -> None:
    subject = rig.open(2 << 20, readonly=True)
    subject.map(rig.file(), 0, 3 * PAGE)
    for part in (hex(subject.mapper.base), "0x200000", "1 mapping", str(3 * PAGE), "read-only"):
        assert part in repr(subject.mapper)
    info = next(iter(subject.mapper))
    assert repr(info).startswith(f"MappingInfo(window_offset=0x0, length={3 * PAGE:#x}")
