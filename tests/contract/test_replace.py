"""A mapping takes the place of others, wholly or in part: VIRTIO 1.3, file system device, "DAX Window"."""

import os
from errno import EACCES, EEXIST, EINVAL, ENODEV, ENOSPC
from functools import partial

import pytest

from daxmap import DaxStats
from support.files import HostFile
from support.host import PAGE
from support.rig import Rig, Subject

LIVE = (4 * PAGE, 4 * PAGE)
"""Window offset and length of the mapping that is in the way."""
PLACES = {
    "exactly": LIVE,
    "its first page": (4 * PAGE, PAGE),
    "its last page": (7 * PAGE, PAGE),
    "its middle": (5 * PAGE, 2 * PAGE),
    "over its start": (3 * PAGE, 2 * PAGE),
    "over its end": (7 * PAGE, 4 * PAGE),
    "around it": (2 * PAGE, 9 * PAGE),
}


def counts(stats: DaxStats) -> tuple[int, int, int, int]:
    return stats.setup_count, stats.replaced_count, stats.split_count, stats.remove_count


@pytest.fixture
def file(subject: Subject) -> HostFile:
    """A file whose pages 1 to 4 show at LIVE, read-only."""
    file = subject.rig.file(16)
    offset, length = LIVE
    subject.map(file, offset, length, file_offset=PAGE)
    return file


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("writable", [False, True], ids=["read-only", "writable"])
def test_another_file_takes_the_place(
    subject: Subject, file: HostFile, place: tuple[int, int], *, writable: bool
) -> None:
    assert file.fd >= 0
    offset, length = place
    other = subject.rig.file(16)
    with subject.refused(EEXIST):
        subject.mapper.setup_mapping(other.fd, 2 * PAGE, offset, length, writable)
    subject.map(other, offset, length, file_offset=2 * PAGE, writable=writable, replace=True)
    subject.agree()
    pieces = len(subject.model) - 1
    assert counts(subject.mapper.stats()) == (2, int(pieces == 0), int(pieces == 2), 0)
    for page in range(offset, offset + length, PAGE):
        assert subject.rig.store(subject.mapper, page, 7) == writable


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_range_is_removed_whatever_lies_in_it(subject: Subject, file: HostFile, place: tuple[int, int]) -> None:
    subject.map(file, 0, PAGE)
    subject.remove_range(*place)
    subject.agree()
    pieces = len(subject.model) - 1
    assert counts(subject.mapper.stats()) == (2, 0, int(pieces == 2), int(pieces == 0))


AGAIN: dict[str, tuple[int, bool, bool]] = {
    "the same, read-only": (PAGE, False, False),
    "the same, writable": (PAGE, True, True),
    "back to read-only": (PAGE, True, False),
    "another offset": (2 * PAGE, False, False),
    "another offset, for writing": (2 * PAGE, False, True),
}


@pytest.mark.parametrize(("file_offset", "live_writable", "writable"), AGAIN.values(), ids=AGAIN)
def test_the_same_file_takes_the_place(
    subject: Subject, file: HostFile, file_offset: int, *, live_writable: bool, writable: bool
) -> None:
    offset, length = LIVE
    if live_writable:
        subject.map(file, offset, length, file_offset=PAGE, writable=True)
    subject.map(file, offset, length, file_offset=file_offset, writable=writable, replace=True)
    subject.agree()
    assert subject.rig.store(subject.mapper, offset, 7) == writable
    assert counts(subject.mapper.stats()) == (2, 1, 0, 0)


def test_an_upgrade_is_no_replacement(subject: Subject, file: HostFile) -> None:
    offset, length = LIVE
    subject.map(file, offset, length, file_offset=PAGE, writable=True, replace=True)
    subject.agree()
    assert counts(subject.mapper.stats()) == (1, 0, 0, 0)
    assert subject.mapper.stats().upgrade_count == 1


def test_a_piece_is_upgraded_removed_and_cut_again(subject: Subject, file: HostFile) -> None:
    subject.remove_range(5 * PAGE, PAGE)
    subject.map(file, 6 * PAGE, 2 * PAGE, file_offset=3 * PAGE, writable=True)
    assert subject.mapper.stats().upgrade_count == 1
    subject.agree()
    assert subject.rig.store(subject.mapper, 7 * PAGE, 7)
    subject.remove_range(6 * PAGE, PAGE)
    subject.remove(4 * PAGE, PAGE)
    subject.agree()
    assert counts(subject.mapper.stats()) == (1, 0, 1, 1)


@pytest.mark.parametrize("many", [2, 500])
def test_many_are_replaced_at_once(rig: Rig, many: int) -> None:
    subject, file = rig.open(), rig.file(16)
    for number in range(many):  # every other page, each of another file page than its neighbours
        subject.map(file, 2 * number * PAGE, file_offset=number % 16 * PAGE)
    subject.map(rig.file(16), PAGE, (2 * many - 2) * PAGE, writable=True, replace=True)
    subject.agree()
    assert counts(subject.mapper.stats()) == (many + 1, many - 1, 0, 0)
    subject.remove_range(0, 2 * many * PAGE)
    subject.agree()
    assert subject.mapper.stats().remove_count == 2


def test_a_range_that_starts_in_one_and_ends_in_another(subject: Subject) -> None:
    for number in range(3):
        subject.map(subject.rig.file(8), 4 * number * PAGE, 4 * PAGE, writable=number == 1)
    subject.remove_range(2 * PAGE, 8 * PAGE)
    subject.agree()
    assert [(live.window_offset, live.length) for live in subject.model.values()] == [
        (0, 2 * PAGE),
        (10 * PAGE, 2 * PAGE),
    ]


def test_the_whole_window_by_its_length(subject: Subject, file: HostFile) -> None:
    subject.map(file, 0)
    subject.remove_range(0, subject.mapper.size)
    subject.agree()
    assert subject.model == {}
    assert subject.mapper.stats().remove_count == 2


def test_a_range_that_shows_nothing_is_a_success(subject: Subject, file: HostFile) -> None:
    assert file.fd >= 0
    with subject.untouched():
        subject.mapper.remove_range(0, 4 * PAGE)
        subject.mapper.remove_range(8 * PAGE, subject.mapper.size - 8 * PAGE)


@pytest.mark.parametrize(
    ("offset", "length"),
    [(1, PAGE), (PAGE, 1), (0, 0), (PAGE, 0), (-PAGE % 2**64, 2 * PAGE), (0, 2**64 - PAGE), (0, 2**64 - 1)],
)
def test_no_range_of_the_window(subject: Subject, file: HostFile, offset: int, length: int) -> None:
    assert file.fd >= 0
    with subject.refused(EINVAL):
        subject.mapper.remove_range(offset, length)
    with subject.refused(EINVAL):
        subject.mapper.remove_range(subject.mapper.size - PAGE, 2 * PAGE)


def test_neither_is_done_on_a_drained_mapper(subject: Subject, file: HostFile) -> None:
    subject.mapper.drain_all()
    subject.model.clear()
    for call in (
        partial(subject.mapper.remove_range, 0, PAGE),
        partial(subject.mapper.refresh, file.fd),
        partial(subject.mapper.setup_mapping, file.fd, 0, 0, PAGE, writable=False, replace=True),
    ):
        with pytest.raises(OSError, match="closed") as caught:
            call()
        assert caught.value.errno == ENODEV


def test_a_cut_that_the_budget_does_not_allow_changes_nothing(rig: Rig) -> None:
    subject, file = rig.open(max_mappings=2), rig.file(16)
    subject.map(file, 0, 8 * PAGE)
    with subject.refused(ENOSPC):  # three there would be
        subject.mapper.setup_mapping(file.fd, 0, PAGE, PAGE, writable=True, replace=True)
    subject.map(file, 7 * PAGE, 2 * PAGE, writable=True, replace=True)
    with subject.refused(ENOSPC):
        subject.mapper.remove_range(2 * PAGE, PAGE)
    subject.map(file, 0, 9 * PAGE, replace=True)
    subject.remove_range(PAGE, 7 * PAGE)
    subject.agree()


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_refused_replacement_leaves_what_is_there(subject: Subject, file: HostFile, place: tuple[int, int]) -> None:
    offset, length = place
    with file.opened(os.O_RDONLY) as opened, subject.refused(EACCES):
        subject.mapper.setup_mapping(opened.fd, 0, offset, length, writable=True, replace=True)


def test_refresh_maps_every_mapping_of_the_file_again(subject: Subject, file: HostFile) -> None:
    other = subject.rig.file(4)
    subject.map(other, 0)
    subject.map(file, PAGE, 2 * PAGE, writable=True)
    before = counts(subject.mapper.stats())
    with file.opened(os.O_RDWR) as opened:
        assert subject.mapper.refresh(opened.fd) == 2
        assert subject.mapper.refresh(other.fd) == 1
    subject.agree()
    assert counts(subject.mapper.stats()) == before
    assert subject.mapper.refresh(subject.rig.file().fd) == 0


def test_refresh_by_a_descriptor_that_cannot_write_leaves_a_writable_mapping(subject: Subject, file: HostFile) -> None:
    subject.map(file, PAGE, 2 * PAGE, writable=True)
    with file.opened(os.O_RDONLY) as opened, subject.refused(EACCES):
        subject.mapper.refresh(opened.fd)
