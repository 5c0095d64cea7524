"""A read-only mapping becomes writable in place: what a guest's first write to a range asks for."""

import os
from errno import EACCES, EEXIST

import pytest

from support.files import HostFile
from support.host import PAGE
from support.rig import Subject

MARK = 0x2158_4144
OFFSET = 8 * PAGE
LENGTH = 2 * PAGE
FILE_OFFSET = PAGE


@pytest.fixture
def file(subject: Subject) -> HostFile:
    """A file whose pages 1 and 2 show read-only at OFFSET."""
    file = subject.rig.file(8)
    with file.opened(os.O_RDONLY) as opened:
        subject.map(opened, OFFSET, LENGTH, file_offset=FILE_OFFSET)
    return file


def test_upgrade_with_another_descriptor(subject: Subject, file: HostFile) -> None:
    assert not subject.rig.store(subject.mapper, OFFSET, MARK)
    subject.map(file, OFFSET, LENGTH, file_offset=FILE_OFFSET, writable=True)
    subject.agree()
    assert subject.rig.store(subject.mapper, OFFSET, MARK)
    assert file.read(FILE_OFFSET, 4) == MARK.to_bytes(4, "little")
    stats = subject.mapper.stats()
    assert (stats.setup_count, stats.setup_bytes, stats.upgrade_count, stats.live_mappings) == (1, LENGTH, 1, 1)
    subject.remove(OFFSET, LENGTH)
    subject.agree()


def test_upgrade_with_the_descriptor_that_set_it_up(subject: Subject) -> None:
    file = subject.rig.file()
    subject.map(file, 0)
    subject.map(file, 0, writable=True)
    subject.agree()


def test_upgrade_by_another_name_of_the_file(subject: Subject, file: HostFile) -> None:
    link = file.path.with_name("link")
    link.hardlink_to(file.path)
    file.path.unlink()
    link.rename(file.path)
    with file.opened(os.O_RDWR) as opened:
        subject.map(opened, OFFSET, LENGTH, file_offset=FILE_OFFSET, writable=True)
    subject.agree()


def test_upgrade_past_the_end_of_file(subject: Subject) -> None:
    file = subject.rig.file(1)
    subject.map(file, 0, 4 * PAGE)
    subject.map(file, 0, 4 * PAGE, writable=True)
    file.write(3 * PAGE, bytes(PAGE))
    assert subject.rig.store(subject.mapper, 3 * PAGE, MARK)
    assert file.read(3 * PAGE, 4) == MARK.to_bytes(4, "little")


def test_upgrade_leaves_the_neighbours_alone(subject: Subject) -> None:
    file = subject.rig.file(4)
    for page in range(4):
        subject.map(file, page * PAGE, file_offset=page * PAGE)
    subject.map(file, PAGE, file_offset=PAGE, writable=True)
    subject.agree()
    assert not subject.rig.store(subject.mapper, 0, MARK)
    assert not subject.rig.store(subject.mapper, 2 * PAGE, MARK)


@pytest.mark.parametrize("proven", [False, True], ids=["first of its device", "after others"])
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY], ids=["O_RDONLY", "O_WRONLY"])
def test_upgrade_that_the_host_refuses_leaves_the_old_access(
    subject: Subject, file: HostFile, flags: int, *, proven: bool
) -> None:
    if proven:
        subject.map(subject.rig.file(), 0, writable=True)
    with file.opened(flags) as opened:
        for _ in range(2):
            with subject.refused(EACCES):
                subject.mapper.setup_mapping(opened.fd, FILE_OFFSET, OFFSET, LENGTH, writable=True)
            assert not subject.rig.store(subject.mapper, OFFSET, MARK)
    subject.map(file, OFFSET, LENGTH, file_offset=FILE_OFFSET, writable=True)
    assert subject.rig.store(subject.mapper, OFFSET, MARK)


Request = tuple[int, int, int]
OTHERS: list[Request] = [
    (FILE_OFFSET + PAGE, OFFSET, LENGTH),
    (0, OFFSET, LENGTH),
    (FILE_OFFSET, OFFSET, LENGTH - PAGE),
    (FILE_OFFSET, OFFSET, LENGTH + PAGE),
    (FILE_OFFSET + PAGE, OFFSET + PAGE, LENGTH - PAGE),
    (0, OFFSET - PAGE, LENGTH + PAGE),
]


@pytest.mark.parametrize("request_", OTHERS)
def test_upgrade_of_another_range_is_an_overlap(subject: Subject, file: HostFile, request_: Request) -> None:
    with subject.refused(EEXIST):
        subject.mapper.setup_mapping(file.fd, *request_, writable=True)
    assert not subject.rig.store(subject.mapper, OFFSET, MARK)


def test_upgrade_with_another_file_is_an_overlap(subject: Subject, file: HostFile) -> None:
    other = subject.rig.file(8)
    other.write(0, file.read(0, 8 * PAGE))
    other.path.replace(file.path)  # the same name and the same bytes are not the same file
    with file.path.open("r+b") as opened, subject.refused(EEXIST):
        subject.mapper.setup_mapping(opened, FILE_OFFSET, OFFSET, LENGTH, writable=True)


def test_upgrade_of_two_neighbours_at_once_is_an_overlap(subject: Subject) -> None:
    file = subject.rig.file()
    subject.map(file, 0)
    subject.map(file, PAGE, file_offset=PAGE)
    with subject.refused(EEXIST):
        subject.mapper.setup_mapping(file.fd, 0, 0, 2 * PAGE, writable=True)


@pytest.mark.parametrize(
    ("live_writable", "writable"),
    [(False, False), (True, True), (True, False)],
    ids=["read-only again", "writable again", "back to read-only"],
)
def test_only_read_only_to_writable_is_an_upgrade(
    subject: Subject, file: HostFile, *, live_writable: bool, writable: bool
) -> None:
    if live_writable:
        subject.map(file, OFFSET, LENGTH, file_offset=FILE_OFFSET, writable=True)
    with subject.refused(EEXIST):
        subject.mapper.setup_mapping(file.fd, FILE_OFFSET, OFFSET, LENGTH, writable)
    assert subject.mapper.stats().upgrade_count == live_writable
