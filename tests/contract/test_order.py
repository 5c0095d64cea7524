"""The order of the checks: of two faults at once, the earlier one is what the caller hears of."""

import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from errno import EACCES, EBADF, EEXIST, EINVAL, ENODEV, ENOENT, ENOSPC, EROFS
from pathlib import Path
from typing import Any

import pytest

from support.files import HostFile
from support.host import PAGE
from support.rig import WINDOW_SIZE, Rig, Subject

FREE = 4 * PAGE
"""Where the window is a hole."""
LIVE = 0
"""Where page 0 of the file shows, read-only."""


@dataclass
class Descriptors:
    """What may be given as `fd`, by its fault."""

    good: int
    closed: int
    directory: int
    write_only: int
    read_only: int


@dataclass
class Request:
    """A setup in which one fault, or two, can be put."""

    fd: int
    file_offset: int = 0
    window_offset: int = FREE
    length: int = PAGE
    writable: bool = False

    def send(self, subject: Subject) -> None:
        subject.mapper.setup_mapping(self.fd, self.file_offset, self.window_offset, self.length, self.writable)


@pytest.fixture
def file(rig: Rig) -> HostFile:
    return rig.file()


@pytest.fixture
def fds(file: HostFile, tmp_path: Path) -> Iterator[Descriptors]:
    directory = os.open(tmp_path, os.O_RDONLY)
    closed = fcntl.fcntl(directory, fcntl.F_DUPFD_CLOEXEC, 500)  # a number that no other file gets soon
    os.close(closed)
    with file.opened(os.O_WRONLY) as write_only, file.opened(os.O_RDONLY) as read_only:
        yield Descriptors(file.fd, closed, directory, write_only.fd, read_only.fd)
    os.close(directory)


@pytest.fixture
def full(rig: Rig, file: HostFile) -> Subject:
    """A mapper that may have one mapping, and has it."""
    subject = rig.open(max_mappings=1)
    subject.map(file, LIVE)
    return subject


@pytest.fixture
def read_only(rig: Rig, file: HostFile) -> Subject:
    """A mapper that maps read-only alone, with one mapping."""
    subject = rig.open(readonly=True)
    subject.map(file, LIVE)
    return subject


def test_closed_comes_first(full: Subject, fds: Descriptors) -> None:
    full.mapper.drain_all()
    full.model.clear()
    for request in (
        Request(fds.good, file_offset=1),
        Request(fds.good, length=0),
        Request(fds.good, window_offset=WINDOW_SIZE),
        Request(fds.closed),
        Request(fds.directory),
        Request(fds.write_only),
    ):
        with full.refused(ENODEV) as caught:
            request.send(full)
        assert "closed" in str(caught.value)
    with full.refused(ENODEV):
        full.mapper.remove_mapping(1, 0)
    with full.refused(ENODEV):
        full.mapper.read(0, 1)


BAD_RANGES: list[dict[str, Any]] = [
    {"file_offset": 1},
    {"window_offset": FREE + 512},
    {"length": PAGE + 1},
    {"length": 0},
    {"window_offset": WINDOW_SIZE},
    {"length": WINDOW_SIZE + PAGE},
    {"window_offset": 2**64 - PAGE, "length": 2 * PAGE},
    {"file_offset": 2**63 - PAGE},
    {"file_offset": 2**64 - PAGE},
]


@pytest.mark.parametrize("bad_range", BAD_RANGES)
def test_bad_range_comes_before_access_file_overlap_and_budget(
    full: Subject, read_only: Subject, fds: Descriptors, bad_range: dict[str, Any]
) -> None:
    live: dict[str, Any] = {"window_offset": LIVE, "writable": True} | bad_range
    for request in (
        Request(fds.closed, **bad_range),
        Request(fds.directory, **bad_range),
        Request(fds.write_only, **bad_range),
        Request(fds.good, **live),
    ):
        with full.refused(EINVAL):
            request.send(full)
    for fd in (fds.good, fds.closed, fds.directory):
        with read_only.refused(EINVAL):
            Request(fd, writable=True, **bad_range).send(read_only)


def test_alignment_comes_before_range(full: Subject, fds: Descriptors) -> None:
    for request in (
        Request(fds.good, window_offset=WINDOW_SIZE + 1),
        Request(fds.good, length=2**64 - 1),
        Request(fds.good, file_offset=2**63 + 1),
    ):
        with full.refused(EINVAL) as caught:
            request.send(full)
        assert "multiple" in str(caught.value)


def test_read_only_mapper_comes_before_file_overlap_and_budget(read_only: Subject, fds: Descriptors) -> None:
    for fd in (fds.closed, fds.directory, fds.read_only, fds.good):
        for window_offset in (FREE, LIVE):
            with read_only.refused(EROFS):
                Request(fd, window_offset=window_offset, writable=True).send(read_only)


@pytest.mark.parametrize("writable", [False, True])
def test_bad_descriptor_comes_before_overlap_and_budget(full: Subject, fds: Descriptors, *, writable: bool) -> None:
    for window_offset in (FREE, LIVE):
        with full.refused(EBADF) as caught:
            Request(fds.closed, window_offset=window_offset, writable=writable).send(full)
        assert str(fds.closed) in str(caught.value)


@pytest.mark.parametrize("writable", [False, True])
def test_irregular_file_comes_before_overlap_and_budget(full: Subject, fds: Descriptors, *, writable: bool) -> None:
    for window_offset in (FREE, LIVE):
        with full.refused(ENODEV) as caught:
            Request(fds.directory, window_offset=window_offset, writable=writable).send(full)
        assert "directory" in str(caught.value)


def test_overlap_comes_before_budget_and_mmap(full: Subject, fds: Descriptors) -> None:
    for request in (
        Request(fds.good, window_offset=LIVE),
        Request(fds.write_only, window_offset=LIVE),
        Request(fds.good, window_offset=LIVE, length=2 * PAGE, writable=True),
    ):
        with full.refused(EEXIST):
            request.send(full)


def test_budget_comes_before_mmap(full: Subject, fds: Descriptors) -> None:
    for request in (Request(fds.good), Request(fds.write_only), Request(fds.read_only, writable=True)):
        with full.refused(ENOSPC) as caught:
            request.send(full)
        assert "1 mapping" in str(caught.value)


def test_upgrade_needs_no_budget(full: Subject, file: HostFile, fds: Descriptors) -> None:
    with full.refused(EACCES):
        Request(fds.read_only, window_offset=LIVE, writable=True).send(full)
    full.map(file, LIVE, writable=True)
    full.agree()


def test_budget_has_room_again_after_a_removal(full: Subject, file: HostFile) -> None:
    full.remove(LIVE)
    full.map(file, FREE)
    full.mapper.reset()
    full.model.clear()
    full.map(file, LIVE)
    full.agree()


def test_failed_mmap_uses_up_no_budget(full: Subject, file: HostFile, fds: Descriptors) -> None:
    full.remove(LIVE)
    for _ in range(3):
        with full.refused(EACCES):
            Request(fds.write_only).send(full)
    full.map(file, FREE)
    full.agree()


def test_remove_asks_for_the_start_before_the_length(full: Subject) -> None:
    with full.refused(ENOENT):
        full.mapper.remove_mapping(FREE, 0)
    with full.refused(ENOENT):
        full.mapper.remove_mapping(1, 1)
    with full.refused(EINVAL):
        full.mapper.remove_mapping(LIVE, 0)
