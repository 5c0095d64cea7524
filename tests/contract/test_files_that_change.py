"""Files that change while they are mapped, behind the mapper's back: an error for any touch of what is gone."""

import os
from collections.abc import Iterator
from errno import EEXIST, EFAULT
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from conftest import open_rig
from support.files import HostFile
from support.host import PAGE
from support.limits import errno_of
from support.rig import WORD, Rig, Subject
from support.walk import punch_hole

PAGES = 8
LENGTH = PAGES * PAGE
MARK = int.from_bytes(b"DAX!", "little")


@pytest.fixture(params=["disk", "tmpfs"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    if request.param == "disk":
        yield tmp_path
        return
    if not os.access("/dev/shm", os.W_OK):  # noqa: S108
        pytest.skip("no tmpfs at /dev/shm")
    with TemporaryDirectory(dir="/dev/shm") as tmpfs:
        yield Path(tmpfs)


@pytest.fixture(params=["host-window", "kvm", "hypervisor", "hypervisor-without-protect"])
def rig(request: pytest.FixtureRequest, directory: Path) -> Iterator[Rig]:
    """Backends whose guest a page that is gone does not kill."""
    with open_rig(request.param, directory) as rig:
        yield rig


@pytest.fixture
def subject(rig: Rig) -> Subject:
    return rig.open()


@pytest.fixture(params=[False, True], ids=["read-only", "writable"])
def file(request: pytest.FixtureRequest, subject: Subject) -> HostFile:
    """Mapped at 0, and looked at once, so that its pages are there."""
    file = subject.rig.file(PAGES)
    subject.map(file, 0, LENGTH, writable=request.param)
    subject.agree()
    return file


def check_gone(subject: Subject, offset: int) -> None:
    """Check that a touch of the page is an error or an exit."""
    mapper, rig = subject.mapper, subject.rig
    writable = subject.model[0].writable
    for at in (offset, offset + PAGE - WORD):
        assert errno_of(partial(mapper.read, mapper.base + at, WORD)) == EFAULT
        if writable:
            assert errno_of(partial(mapper.write, mapper.base + at, b"lost")) == EFAULT
        assert rig.load(mapper, at) is None
        assert not rig.store(mapper, at, MARK)


def check_shown(subject: Subject, offset: int, content: bytes) -> None:
    """Check what the host and its guest read."""
    mapper, rig = subject.mapper, subject.rig
    assert mapper.read(mapper.base + offset, len(content)) == content
    assert rig.load(mapper, offset) == int.from_bytes(content[:WORD], "little")


def test_truncated(subject: Subject, file: HostFile) -> None:
    content = file.read(0, LENGTH)
    os.truncate(file.path, 3 * PAGE + 100)
    for page in range(4, PAGES):
        check_gone(subject, page * PAGE)
    check_shown(subject, 0, content[: 3 * PAGE + 100] + bytes(PAGE - 100))
    assert errno_of(lambda: subject.mapper.read(subject.mapper.base, 4 * PAGE + 1)) == EFAULT
    assert file.path.stat().st_size == 3 * PAGE + 100
    subject.agree()
    os.truncate(file.path, 0)
    check_gone(subject, 0)
    subject.remove(0, LENGTH)
    subject.map(file, 0, LENGTH)
    check_gone(subject, 0)
    subject.agree()


def test_truncated_and_grown_again(subject: Subject, file: HostFile) -> None:
    os.truncate(file.path, PAGE)
    os.truncate(file.path, LENGTH)
    check_shown(subject, PAGE, bytes(LENGTH - PAGE))
    file.write(5 * PAGE, b"again" * 100)
    check_shown(subject, 5 * PAGE, b"again" * 100)
    subject.agree()


@pytest.mark.parametrize("writable", [False, True], ids=["read-only", "writable"])
def test_grown(subject: Subject, *, writable: bool) -> None:
    file = subject.rig.file(1)
    subject.map(file, 0, 2 << 20, writable=writable)
    check_gone(subject, PAGE)
    for size in (PAGE + 10, 3 * PAGE, 2 << 20):
        file.write(size - 10, b"0123456789")
        check_shown(subject, size - 10, b"0123456789")
    if writable:
        assert subject.rig.store(subject.mapper, PAGE, MARK)
        assert file.read(PAGE, WORD) == b"DAX!"
    subject.agree()


def test_unlinked(subject: Subject, file: HostFile) -> None:
    file.path.unlink()
    subject.agree()
    if subject.model[0].writable:
        assert subject.rig.store(subject.mapper, 0, MARK)
        assert file.read(0, WORD) == b"DAX!"
    subject.remove(0, LENGTH)
    subject.map(file, PAGE, LENGTH)
    subject.agree()


def test_replaced(subject: Subject, file: HostFile) -> None:
    """Another file of the same name is another file."""
    content = file.read(0, LENGTH)
    other = subject.rig.file(PAGES)
    other.path.rename(file.path)
    with file.path.open("r+b") as opened, subject.refused(EEXIST):
        subject.mapper.setup_mapping(opened, 0, 0, LENGTH, writable=True)
    check_shown(subject, 0, content)
    with file.path.open("r+b") as opened:
        subject.mapper.setup_mapping(opened, 0, 2 * LENGTH, LENGTH, writable=False)
    check_shown(subject, 2 * LENGTH, other.read(0, LENGTH))
    subject.adopt_book()
    subject.agree()


def test_punched(subject: Subject, file: HostFile) -> None:
    content = file.read(0, LENGTH)
    punch_hole(file.fd, 2 * PAGE, 2 * PAGE)
    check_shown(subject, 0, content[: 2 * PAGE] + bytes(2 * PAGE) + content[4 * PAGE :])
    if subject.model[0].writable:
        assert subject.rig.store(subject.mapper, 3 * PAGE, MARK)
        assert file.read(3 * PAGE, WORD) == b"DAX!"
    subject.agree()


def test_written(subject: Subject, file: HostFile) -> None:
    file.write(PAGE - 50, b"x" * 100)
    check_shown(subject, PAGE - 50, b"x" * 100)
    subject.agree()
