"""Setting mappings up: what the guest sees, and which ranges are refused."""

import os
from errno import EEXIST, EROFS

import pytest

from support.host import PAGE
from support.rig import WINDOW_SIZE, Rig, Subject

MARK = 0x2158_4144


def test_mapping_shows_the_file_and_nothing_besides(subject: Subject) -> None:
    file = subject.rig.file()
    subject.map(file, 2 * PAGE, 2 * PAGE, file_offset=PAGE)
    subject.agree()
    assert subject.rig.load(subject.mapper, PAGE) is None
    assert subject.rig.load(subject.mapper, 4 * PAGE) is None
    stats = subject.mapper.stats()
    assert (stats.setup_count, stats.setup_bytes, stats.peak_mappings) == (1, 2 * PAGE, 1)


def test_guest_stores_to_a_writable_mapping_only(subject: Subject) -> None:
    read_only, writable = subject.rig.file(), subject.rig.file()
    content = read_only.read(0, 4 * PAGE)
    subject.map(read_only, 0, PAGE)
    subject.map(writable, PAGE, PAGE, file_offset=PAGE, writable=True)
    assert not subject.rig.store(subject.mapper, 0, MARK)
    assert subject.rig.store(subject.mapper, PAGE + 8, MARK)
    assert read_only.read(0, 4 * PAGE) == content
    assert writable.read(PAGE + 8, 4) == MARK.to_bytes(4, "little")
    subject.agree()


def test_host_writes_to_the_file_show_at_once(subject: Subject) -> None:
    file = subject.rig.file()
    subject.map(file, 0, PAGE)
    file.write(0, MARK.to_bytes(4, "little"))
    assert subject.rig.load(subject.mapper, 0) == MARK
    subject.agree()


def test_ends_of_the_window_can_be_mapped(subject: Subject) -> None:
    file = subject.rig.file()
    subject.map(file, 0, PAGE)
    subject.map(file, WINDOW_SIZE - PAGE, PAGE, file_offset=PAGE)
    subject.agree()


def test_one_mapping_can_fill_the_window(rig: Rig) -> None:
    subject = rig.open(16 * PAGE)
    subject.map(rig.file(16), 0, 16 * PAGE, writable=True)
    subject.agree()


def test_mapping_outlives_its_descriptor_and_its_name(subject: Subject) -> None:
    file = subject.rig.file()
    with file.opened(os.O_RDONLY) as opened:
        subject.map(opened, 0, PAGE)
    file.path.unlink()
    subject.agree()


def test_descriptor_may_be_an_object_and_arguments_may_be_named(subject: Subject) -> None:
    file = subject.rig.file()
    with file.path.open("rb") as opened:
        subject.mapper.setup_mapping(fd=opened, file_offset=0, window_offset=PAGE, length=PAGE, writable=False)
    assert subject.rig.peek(subject.mapper, PAGE, PAGE) == file.read(0, PAGE)
    subject.mapper.remove_mapping(window_offset=PAGE, length=PAGE)
    subject.agree()


def test_growth_shows_through_a_mapping_that_ran_past_the_end_of_file(subject: Subject) -> None:
    file = subject.rig.file(pages=1)
    subject.map(file, 0, 2 << 20)
    subject.agree()
    assert subject.rig.load(subject.mapper, PAGE) is None
    file.write(2 * PAGE, MARK.to_bytes(4, "little"))
    assert subject.rig.load(subject.mapper, PAGE) == 0
    assert subject.rig.load(subject.mapper, 2 * PAGE) == MARK
    assert subject.rig.load(subject.mapper, 3 * PAGE) is None
    subject.agree()


def test_mapping_may_lie_wholly_past_the_end_of_file(subject: Subject) -> None:
    file = subject.rig.file(pages=0)
    subject.map(file, 0, PAGE, file_offset=PAGE, writable=True)
    assert subject.rig.load(subject.mapper, 0) is None
    assert not subject.rig.store(subject.mapper, 0, MARK)
    file.write(PAGE, bytes(PAGE))
    assert subject.rig.store(subject.mapper, 0, MARK)
    assert file.read(PAGE, 4) == MARK.to_bytes(4, "little")


def test_truncation_takes_pages_away_and_nothing_else(subject: Subject) -> None:
    file = subject.rig.file(pages=4)
    subject.map(file, 0, 4 * PAGE, writable=True)
    subject.agree()
    os.ftruncate(file.fd, PAGE)
    assert subject.rig.load(subject.mapper, 2 * PAGE) is None
    assert not subject.rig.store(subject.mapper, 2 * PAGE, MARK)
    assert os.fstat(file.fd).st_size == PAGE
    subject.agree()


@pytest.mark.parametrize("second_offset", [PAGE, 2 * PAGE], ids=["continues", "jumps"])
def test_neighbours_of_one_file_stay_two_mappings(subject: Subject, second_offset: int) -> None:
    file = subject.rig.file()
    subject.map(file, 0, PAGE)
    subject.map(file, PAGE, PAGE, file_offset=second_offset)
    subject.agree()
    subject.remove(0)
    subject.agree()


def test_same_file_range_may_show_twice(subject: Subject) -> None:
    file = subject.rig.file()
    subject.map(file, 0, PAGE, writable=True)
    subject.map(file, 8 * PAGE, PAGE)
    assert subject.rig.store(subject.mapper, 0, MARK)
    assert subject.rig.load(subject.mapper, 8 * PAGE) == MARK
    subject.agree()


def test_windows_of_one_guest_do_not_mix(rig: Rig) -> None:
    first, second = rig.open(2 << 20), rig.open(2 << 20)
    first.map(rig.file(), 0, PAGE)
    second.map(rig.file(), 0, PAGE, writable=True)
    first.agree()
    second.agree()
    first.remove(0)
    first.agree()
    second.agree()


def test_read_only_mapper_maps_read_only_from_a_writable_descriptor(rig: Rig) -> None:
    subject = rig.open(readonly=True)
    file = rig.file()
    content = file.read(0, PAGE)
    subject.map(file, 0, PAGE)
    assert not rig.store(subject.mapper, 0, MARK)
    for window_offset in (0, PAGE):  # the first would be an upgrade
        with subject.refused(EROFS):
            subject.mapper.setup_mapping(file.fd, 0, window_offset, PAGE, writable=True)
    assert file.read(0, PAGE) == content


LIVE_START, LIVE_END = 4, 8


@pytest.mark.parametrize("writable", [False, True])
@pytest.mark.parametrize(
    ("start", "end"),
    [(4, 8), (4, 5), (7, 8), (5, 7), (3, 5), (7, 9), (3, 9), (0, 16), (4, 9), (3, 8)],
)
def test_every_overlap_is_refused(subject: Subject, start: int, end: int, *, writable: bool) -> None:
    file, other = subject.rig.file(16), subject.rig.file(16)
    subject.map(file, LIVE_START * PAGE, (LIVE_END - LIVE_START) * PAGE, writable=True)
    for wanted in (file, other):
        with subject.refused(EEXIST) as caught:
            subject.mapper.setup_mapping(wanted.fd, 0, start * PAGE, (end - start) * PAGE, writable)
    assert hex(start * PAGE) in str(caught.value)


def test_overlap_with_any_of_many_is_refused(subject: Subject) -> None:
    file = subject.rig.file(1)
    live = range(0, 64, 2)
    for page in live:
        subject.map(file, page * PAGE)
    for page in live:
        with pytest.raises(FileExistsError):
            subject.mapper.setup_mapping(file.fd, 0, (page - 1) * PAGE if page else 0, 2 * PAGE, writable=False)
    subject.agree()


@pytest.mark.parametrize(("start", "end"), [(0, 4), (3, 4), (8, 9), (8, 16)])
def test_touching_neighbours_are_no_overlap(subject: Subject, start: int, end: int) -> None:
    subject.map(subject.rig.file(), LIVE_START * PAGE, (LIVE_END - LIVE_START) * PAGE)
    subject.map(subject.rig.file(16), start * PAGE, (end - start) * PAGE)
    subject.agree()
