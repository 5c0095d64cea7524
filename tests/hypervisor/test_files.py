"""Files behind a hypervisor or a VMM's own backend: what may be written, and which file it is."""

import fcntl
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EACCES, EMFILE, EPERM
from functools import partial
from pathlib import Path

import pytest

from daxmap import DaxMapper
from support.files import HostFile
from support.host import PAGE
from support.limits import errno_of
from support.recording import (
    ProtectingBackend,
    ProtectingHypervisor,
    RecordingBackend,
    RecordingHypervisor,
    check_books,
)

F_SEAL_FUTURE_WRITE = 0x10
"""include/uapi/linux/fcntl.h."""


@pytest.mark.parametrize("kind", [RecordingHypervisor, ProtectingHypervisor])
def test_upgrade_past_a_seal_is_refused(kind: type[RecordingHypervisor]) -> None:
    """Memory that was shared before the seal came must not become writable for the guest after it."""
    recorder, fd = kind(), os.memfd_create("sealed", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, PAGE)
    with recorder.mapper() as mapper:
        mapper.setup_mapping(fd, 0, 0, PAGE, writable=False)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, F_SEAL_FUTURE_WRITE)
        for _ in range(2):
            assert errno_of(lambda: mapper.setup_mapping(fd, 0, 0, PAGE, writable=True)) == EPERM
            assert recorder.shown() == {0: (PAGE, False)}
            check_books(recorder, mapper)
    os.close(fd)


def kept(file: HostFile) -> int:
    """How many descriptors of the file this process has."""
    count = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            count += entry.stat().st_ino == file.inode
        except OSError:
            continue  # that of the listing
    return count


@pytest.fixture(params=[RecordingBackend, ProtectingBackend], ids=lambda kind: kind.__name__)
def backend(request: pytest.FixtureRequest) -> RecordingBackend:
    backend: RecordingBackend = request.param()
    return backend


@contextmanager
def opened(backend: RecordingBackend) -> Iterator[DaxMapper]:
    with backend.mapper() as mapper:
        yield mapper


def test_one_descriptor_is_kept_for_each_file_and_access(backend: RecordingBackend, file: HostFile) -> None:
    """As long as one is kept, no other file gets the inode number: `protect` is never given another file's."""
    before = kept(file)
    with opened(backend) as mapper:
        for page in range(4):
            mapper.setup_mapping(file.fd, 0, page * PAGE, PAGE, writable=False)
        assert kept(file) == before + 1
        mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=True)
        assert kept(file) == before + 2
        mapper.remove_range(PAGE, 3 * PAGE)
        assert kept(file) == before + 1
        mapper.setup_mapping(file.fd, 0, 0, 4 * PAGE, writable=True, replace=True)
        mapper.remove_range(PAGE, PAGE)
        assert kept(file) == before + 1
        assert mapper.refresh(file.fd) == 2
        assert kept(file) == before + 1
    assert kept(file) == before


def test_pieces_are_mapped_when_the_caller_has_closed_its_descriptor(backend: RecordingBackend, tmp_path: Path) -> None:
    path = tmp_path / "gone"
    path.write_bytes(bytes(4 * PAGE))
    with opened(backend) as mapper:
        with path.open("r+b") as file:
            mapper.setup_mapping(file, 0, 0, 4 * PAGE, writable=True)
            inode = os.fstat(file.fileno()).st_ino
        path.unlink()
        path.write_bytes(b"another")
        assert path.stat().st_ino != inode, "the number is in use"
        mapper.remove_range(PAGE, PAGE)
        placed = [(offset, piece.inode, piece.file_offset, piece.length) for offset, piece in backend.book.items()]
        assert sorted(placed) == [(0, inode, 0, PAGE), (2 * PAGE, inode, 2 * PAGE, 2 * PAGE)]


def test_nothing_is_taken_from_the_guest_for_a_descriptor_that_cannot_be_mapped(
    backend: RecordingBackend, file: HostFile
) -> None:
    with opened(backend) as mapper:
        mapper.setup_mapping(file.fd, 0, 0, 4 * PAGE, writable=False)
        calls = len(backend.calls)
        for flags, writable in ((os.O_RDONLY, True), (os.O_WRONLY, False), (os.O_WRONLY, True)):
            with file.opened(flags) as other:
                setup = partial(mapper.setup_mapping, other.fd, 0, 0, PAGE, writable, replace=True)
                assert errno_of(setup) == EACCES
        assert len(backend.calls) == calls
        check_books(backend, mapper)


def test_no_descriptor_left_is_an_error_and_changes_nothing(backend: RecordingBackend, file: HostFile) -> None:
    with opened(backend) as mapper:
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (file.fd + 1, limits[1]))
        try:
            errno = errno_of(lambda: mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert errno == EMFILE
        assert backend.calls == []
        check_books(backend, mapper)
