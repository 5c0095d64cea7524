"""Removing mappings, one by one and in batches."""

from errno import EINVAL, ENOENT

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daxmap import RemoveResult
from support.host import PAGE
from support.rig import WINDOW_SIZE, Subject

Entry = tuple[int, int]


def test_removed_mapping_leaves_a_hole(subject: Subject) -> None:
    file = subject.rig.file()
    subject.map(file, PAGE, 2 * PAGE, writable=True)
    subject.map(file, 3 * PAGE, PAGE)
    subject.remove(PAGE, 2 * PAGE)
    subject.agree()
    assert subject.rig.load(subject.mapper, PAGE) is None
    assert not subject.rig.store(subject.mapper, 2 * PAGE, 1)
    stats = subject.mapper.stats()
    assert (stats.remove_count, stats.setup_bytes, stats.live_bytes) == (1, 3 * PAGE, PAGE)


def test_removed_range_can_show_another_file(subject: Subject) -> None:
    for _ in range(3):
        subject.map(subject.rig.file(), PAGE)
        subject.agree()
        subject.remove(PAGE)
    subject.agree()
    assert subject.mapper.stats().peak_mappings == 1


@pytest.mark.parametrize(
    "offset",
    [0, 3 * PAGE, 2 * PAGE, PAGE + 1, WINDOW_SIZE, 2**63, 2**64 - PAGE, 2**64 - 1],
    ids=["hole", "end of a mapping", "inside one", "unaligned", "end of the window", "2**63", "last page", "max"],
)
@pytest.mark.parametrize("length", [0, 1, PAGE, 2**64 - 1])
def test_remove_where_nothing_starts(subject: Subject, offset: int, length: int) -> None:
    subject.map(subject.rig.file(), PAGE, 2 * PAGE)
    with subject.refused(ENOENT) as caught:
        subject.mapper.remove_mapping(offset, length)
    assert hex(offset) in str(caught.value)


@pytest.mark.parametrize("length", [0, 1, PAGE, 3 * PAGE, 2 * PAGE - 1, 2**63, 2**64 - PAGE, 2**64 - 1])
def test_remove_with_another_length(subject: Subject, length: int) -> None:
    subject.map(subject.rig.file(), PAGE, 2 * PAGE)
    subject.map(subject.rig.file(), 3 * PAGE)
    with subject.refused(EINVAL) as caught:
        subject.mapper.remove_mapping(PAGE, length)
    assert hex(length) in str(caught.value)


def remove_one_by_one(subject: Subject, entries: list[Entry]) -> list[tuple[int, int, int]]:
    """What the model says of a batch: the entries that fail, in order. The others leave the model."""
    failed = []
    for offset, length in entries:
        mapped = subject.model.get(offset)
        if mapped is None:
            failed.append((offset, length, ENOENT))
        elif mapped.length != length:
            failed.append((offset, length, EINVAL))
        else:
            del subject.model[offset]
    return failed


def check_batch(subject: Subject, entries: list[Entry]) -> RemoveResult:
    before = subject.mapper.stats()
    failed = remove_one_by_one(subject, entries)
    result = subject.mapper.remove_mappings(entries)
    assert result.failed == failed
    assert result.removed == len(entries) - len(failed)
    assert result.errno == (failed[0][2] if failed else 0)
    subject.agree()
    after = subject.mapper.stats()
    assert after.remove_count == before.remove_count + result.removed
    for errno in (ENOENT, EINVAL):
        counted = after.errors.get(errno, 0) - before.errors.get(errno, 0)
        assert counted == sum(failure[2] == errno for failure in failed)
    return result


LIVE = st.lists(st.sampled_from([0, 1, 2]), max_size=8)
"""How many pages the next mapping takes, or 0 for a hole of a page."""
OFFSETS = st.one_of(st.integers(0, 8).map(lambda page: page * PAGE), st.sampled_from([1, WINDOW_SIZE, 2**64 - 1]))
LENGTHS = st.one_of(st.sampled_from([PAGE, 2 * PAGE]), st.sampled_from([0, 1, 2**64 - 1]))
BATCHES = st.one_of(
    st.lists(st.tuples(OFFSETS, LENGTHS), max_size=20),
    st.lists(st.tuples(st.sampled_from([0, PAGE, 2 * PAGE]), st.sampled_from([PAGE, 2 * PAGE])), max_size=6),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LIVE, BATCHES)
def test_batch_is_one_by_one_removal(subject: Subject, live: list[int], entries: list[Entry]) -> None:
    subject.mapper.reset()
    subject.model.clear()
    file = subject.rig.files[0] if subject.rig.files else subject.rig.file(2)
    page = 0
    for pages in live:
        if pages:
            subject.map(file, page * PAGE, pages * PAGE)
        page += max(pages, 1)
    check_batch(subject, entries)


def live_pages(subject: Subject, pages: range) -> list[Entry]:
    """A mapping of its own for each of these pages of the window."""
    file = subject.rig.file(pages.stop)
    for page in pages:
        subject.map(file, page * PAGE, file_offset=page * PAGE)
    return [(page * PAGE, PAGE) for page in pages]


@pytest.mark.parametrize("step", [1, 2, 3])
def test_batch_removes_all(subject: Subject, step: int) -> None:
    entries = live_pages(subject, range(0, 60, step))
    assert check_batch(subject, entries[::2] + entries[1::2]).errno == 0
    assert subject.model == {}


def test_batch_keeps_what_it_does_not_name(subject: Subject) -> None:
    entries = live_pages(subject, range(32))
    check_batch(subject, entries[::-2])
    assert len(subject.model) == 16


def test_batch_that_names_a_mapping_twice_removes_it_once(subject: Subject) -> None:
    live_pages(subject, range(2))
    result = check_batch(subject, [(0, PAGE), (PAGE, PAGE), (0, PAGE)])
    assert (result.removed, result.failed) == (2, [(0, PAGE, ENOENT)])


def test_batch_sees_a_wrong_length_before_the_right_one(subject: Subject) -> None:
    live_pages(subject, range(1))
    assert check_batch(subject, [(0, 2 * PAGE), (0, PAGE)]).failed == [(0, 2 * PAGE, EINVAL)]


def test_empty_batch(subject: Subject) -> None:
    live_pages(subject, range(1))
    with subject.untouched():
        result = subject.mapper.remove_mappings([])
    assert (result.removed, result.failed, result.errno) == (0, [], 0)


def test_batch_may_be_any_iterable(subject: Subject) -> None:
    entries = live_pages(subject, range(4))
    assert subject.mapper.remove_mappings(entry for entry in entries).removed == 4
    subject.model.clear()
    subject.agree()


def test_batch_of_thousands(subject: Subject) -> None:
    entries = live_pages(subject, range(256)) + [(page * PAGE, PAGE) for page in range(256, 4096)]
    assert check_batch(subject, entries).removed == 256
