"""A whole file in one call."""

import os
from errno import EACCES, EEXIST, EINVAL, EROFS
from pathlib import Path

import pytest

from support.host import PAGE
from support.rig import WINDOW_SIZE, Mapped, Rig, Subject


@pytest.mark.parametrize(("size", "length"), [(1, PAGE), (PAGE, PAGE), (PAGE + 1, 2 * PAGE), (3 * PAGE, 3 * PAGE)])
def test_maps_all_of_it(subject: Subject, size: int, length: int) -> None:
    file = subject.rig.file()
    os.ftruncate(file.fd, size)
    assert subject.mapper.map_file(file.fd) == length
    subject.model[0] = Mapped(0, length, 0, False, file)  # noqa: FBT003
    subject.agree()
    assert subject.mapper.map_file(file.fd, 8 * PAGE, writable=True) == length
    subject.model[8 * PAGE] = Mapped(8 * PAGE, length, 0, True, file)  # noqa: FBT003
    subject.agree()
    subject.remove(0, length)


def test_is_the_upgrade_of_the_same(subject: Subject) -> None:
    file = subject.rig.file(1)
    subject.mapper.map_file(file.fd)
    subject.mapper.map_file(file.fd, writable=True)
    subject.model[0] = Mapped(0, PAGE, 0, True, file)  # noqa: FBT003
    subject.agree()
    assert subject.mapper.stats().upgrade_count == 1


def test_empty_file(subject: Subject, tmp_path: Path) -> None:
    with (tmp_path / "empty").open("w+b") as file, subject.refused(EINVAL) as refused:
        subject.mapper.map_file(file)
    assert "is empty" in str(refused.value)


def test_refusals_are_those_of_a_setup(rig: Rig, tmp_path: Path) -> None:
    subject = rig.open()
    file = rig.file()
    subject.map(file, 0)
    with subject.refused(EEXIST):
        subject.mapper.map_file(file.fd)
    with subject.refused(EINVAL):
        subject.mapper.map_file(file.fd, 1)
    with subject.refused(EINVAL):
        subject.mapper.map_file(file.fd, WINDOW_SIZE - PAGE)
    with (tmp_path / "huge").open("w+b") as huge, subject.refused(EINVAL):
        huge.truncate(WINDOW_SIZE + 1)
        subject.mapper.map_file(huge)
    with file.path.open("rb") as readable, subject.refused(EACCES):
        subject.mapper.map_file(readable, PAGE, writable=True)
    readonly = rig.open(readonly=True)
    with readonly.refused(EROFS):
        readonly.mapper.map_file(file.fd, writable=True)
