"""What no caller should give, given from Python. Afterwards book, counters, memory and guest are as before."""

import errno
import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.host import PAGE
from support.rig import WINDOW_SIZE, Rig, Subject

FREE = 16 * PAGE
CLOSED = 500
"""A descriptor that is not open: new ones get the lowest numbers."""


@pytest.fixture
def subject(rig: Rig) -> Subject:
    """A mapper with a read-only and a writable mapping, which must survive everything."""
    subject = rig.open()
    subject.occupy()
    return subject


def setup(subject: Subject, fd: object, *, writable: bool = False) -> None:
    subject.mapper.setup_mapping(fd, 0, FREE, PAGE, writable)  # type: ignore[arg-type]


RANGES: list[tuple[int, int, int]] = [
    (1, FREE, PAGE),
    (PAGE // 2, FREE, PAGE),
    (0, FREE + 1, PAGE),
    (0, FREE + 512, PAGE),
    (0, FREE, PAGE + 1),
    (0, FREE, 1),
    (0, FREE, 0),
    (0, WINDOW_SIZE, PAGE),
    (0, WINDOW_SIZE - PAGE, 2 * PAGE),
    (0, FREE, WINDOW_SIZE),
    (0, 0, WINDOW_SIZE + PAGE),
    (0, 2**64 - PAGE, PAGE),
    (0, 2**64 - PAGE, 2 * PAGE),
    (0, PAGE, 2**64 - PAGE),
    (0, FREE, 2**64 - PAGE),
    (2**63, FREE, PAGE),
    (2**63 - PAGE, FREE, PAGE),
    (2**64 - PAGE, FREE, PAGE),
]


@pytest.mark.parametrize(("file_offset", "window_offset", "length"), RANGES)
def test_setup_of_a_range_that_cannot_be(
    plain_subject: Subject, file_offset: int, window_offset: int, length: int
) -> None:
    with plain_subject.refused(errno.EINVAL) as caught:
        plain_subject.mapper.setup_mapping(
            plain_subject.rig.files[0].fd, file_offset, window_offset, length, writable=False
        )
    assert str(caught.value.strerror)


def test_largest_file_offset_is_refused_by_the_host_or_shown_empty(subject: Subject) -> None:
    file = subject.rig.files[0]
    end = 2**63 - PAGE  # the last page that ends by 2**63 - 1
    try:
        subject.map(file, FREE, file_offset=end - PAGE)
    except OSError as error:
        if error.errno not in (errno.EOVERFLOW, errno.EINVAL):
            raise
    subject.agree()


# Descriptors.


@contextmanager
def directory_of(path: Path) -> Iterator[int]:
    with opened(path, os.O_RDONLY | os.O_DIRECTORY) as fd:
        yield fd


@contextmanager
def opened(path: Path | str, flags: int) -> Iterator[int]:
    fd = os.open(path, flags | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def fifo(path: Path) -> Iterator[int]:
    os.mkfifo(path / "fifo")
    with opened(path / "fifo", os.O_RDWR | os.O_NONBLOCK) as fd:
        yield fd


@contextmanager
def pipe(_path: Path) -> Iterator[int]:
    read, write = os.pipe()
    try:
        yield read
    finally:
        os.close(read)
        os.close(write)


@contextmanager
def unix_socket(_path: Path) -> Iterator[int]:
    with closing(socket.socket(socket.AF_UNIX)) as end:
        yield end.fileno()


@contextmanager
def symbolic_link(path: Path) -> Iterator[int]:
    (path / "link").symlink_to("file0")
    with opened(path / "link", os.O_PATH | os.O_NOFOLLOW) as fd:
        yield fd


@contextmanager
def event(_path: Path) -> Iterator[int]:
    fd = os.eventfd(0)
    try:
        yield fd
    finally:
        os.close(fd)


NOT_REGULAR: dict[str, Callable[[Path], Any]] = {
    "directory": directory_of,
    "FIFO": fifo,
    "pipe": pipe,
    "socket": unix_socket,
    "symbolic link": symbolic_link,
    "eventfd": event,
    "/dev/null": lambda _: opened("/dev/null", os.O_RDWR),
    "/dev/zero": lambda _: opened("/dev/zero", os.O_RDWR),
    "O_PATH directory": lambda path: opened(path, os.O_PATH),
}


@pytest.mark.parametrize("writable", [False, True])
@pytest.mark.parametrize("kind", NOT_REGULAR)
def test_guest_never_maps_what_is_no_regular_file(
    subject: Subject, tmp_path: Path, kind: str, *, writable: bool
) -> None:
    with NOT_REGULAR[kind](tmp_path) as fd, subject.refused(errno.ENODEV):
        setup(subject, fd, writable=writable)


@pytest.mark.parametrize("fd", [-1, CLOSED, 2**31 - 1, -(2**31)])
def test_descriptor_that_is_not_open(subject: Subject, fd: int) -> None:
    with subject.refused(errno.EBADF) as caught:
        setup(subject, fd)
    assert str(fd) in str(caught.value)


@pytest.mark.parametrize(
    ("flags", "writable", "refusal"),
    [
        (os.O_PATH, False, errno.EBADF),
        (os.O_PATH, True, errno.EBADF),
        (os.O_WRONLY, False, errno.EACCES),
        (os.O_WRONLY, True, errno.EACCES),
        (os.O_RDONLY, True, errno.EACCES),
    ],
)
@pytest.mark.parametrize("proven", [False, True], ids=["first of its device", "after others"])
def test_descriptor_without_the_access(rig: Rig, flags: int, refusal: int, *, writable: bool, proven: bool) -> None:
    subject = rig.open()
    file = rig.file()
    if proven:
        subject.map(file, 0)
        subject.map(file, PAGE, writable=True)
    with file.opened(flags) as same, subject.refused(refusal):
        setup(subject, same.fd, writable=writable)


def sysfs_file() -> Path:
    """A regular file that cannot be mapped."""
    path = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not path.is_file():
        pytest.skip(f"{path} is not there: no file whose mmap is refused")
    return path


def test_file_of_sysfs_cannot_be_mapped(subject: Subject) -> None:
    with opened(sysfs_file(), os.O_RDONLY) as fd:
        for _ in range(2):
            with subject.refused(errno.ENODEV):
                setup(subject, fd)


def test_file_of_sysfs_does_not_displace_a_mapping(subject: Subject) -> None:
    with opened(sysfs_file(), os.O_RDONLY) as fd, subject.refused(errno.EEXIST):
        subject.mapper.setup_mapping(fd, 0, 0, 2 * PAGE, writable=True)


@pytest.fixture
def memfd() -> Iterator[int]:
    fd = os.memfd_create("dax", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    os.ftruncate(fd, PAGE)
    os.pwrite(fd, b"memory", 0)
    yield fd
    os.close(fd)


def test_memfd_is_a_file_like_others(subject: Subject, memfd: int) -> None:
    setup(subject, memfd, writable=True)
    assert subject.rig.peek(subject.mapper, FREE, 6) == b"memory"
    assert subject.rig.store(subject.mapper, FREE, 0x2158_4144)
    assert os.pread(memfd, 4, 0) == b"DAX!"
    subject.mapper.remove_mapping(FREE, PAGE)
    subject.agree()


def test_sealed_memfd_is_not_mapped_writable(subject: Subject, memfd: int) -> None:
    fcntl.fcntl(memfd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    for _ in range(2):
        with subject.refused(errno.EPERM):
            setup(subject, memfd, writable=True)


def test_upgrade_of_a_sealed_memfd_leaves_the_old_access(subject: Subject, memfd: int) -> None:
    fcntl.fcntl(memfd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    try:
        setup(subject, memfd)
    except PermissionError:
        pytest.skip("this kernel shares no sealed memory, not even read-only (Linux 6.7 does)")
    before = list(subject.mapper)
    with pytest.raises(PermissionError) as caught:
        setup(subject, memfd, writable=True)
    assert caught.value.errno == errno.EPERM
    assert list(subject.mapper) == before
    assert subject.rig.peek(subject.mapper, FREE, 6) == b"memory"
    assert not subject.rig.store(subject.mapper, FREE, 0)
    subject.mapper.remove_mapping(FREE, PAGE)
    subject.agree()
