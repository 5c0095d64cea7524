"""A Python object as the whole backend: what it is asked for."""

import os
from errno import ENOSPC, ENOTSUP

import pytest

from daxmap import DaxMapper
from support.files import HostFile
from support.host import PAGE, vmas
from support.recording import (
    BASE,
    Fault,
    Placed,
    ProtectingBackend,
    RecordingBackend,
    check_books,
)

BACKENDS = [RecordingBackend, ProtectingBackend]


@pytest.fixture(params=BACKENDS, ids=lambda kind: kind.__name__)
def backend(request: pytest.FixtureRequest) -> RecordingBackend:
    backend: RecordingBackend = request.param()
    return backend


@pytest.fixture
def recorder(backend: RecordingBackend) -> RecordingBackend:
    return backend


def test_backend_is_given_file_and_window_offset(backend: RecordingBackend, mapper: DaxMapper, file: HostFile) -> None:
    mapper.setup_mapping(file.fd, PAGE, 5 * PAGE, 2 * PAGE, writable=False)
    with file.path.open("r+b") as other:
        mapper.setup_mapping(other, 0, 0, PAGE, writable=True)
        assert backend.calls[1] == ("map", other.fileno(), 0, 0, PAGE, True)
    assert backend.calls[0] == ("map", file.fd, PAGE, 5 * PAGE, 2 * PAGE, False)
    assert type(backend.calls[0][-1]) is bool
    assert backend.book[5 * PAGE] == Placed(file.inode, PAGE, 2 * PAGE, writable=False)
    mapper.remove_mapping(5 * PAGE, 2 * PAGE)
    assert backend.calls[2:] == [("unmap", 5 * PAGE, 2 * PAGE)]
    mapper.reset()
    assert backend.calls[3:] == [("unmap", 0, PAGE)]


def test_the_mapper_maps_nothing_itself(backend: RecordingBackend, mapper: DaxMapper, file: HostFile) -> None:
    mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=True)
    assert mapper.host_address is None
    assert all(vma.shown.inode != file.inode for vma in vmas())
    for access in (lambda: mapper.read(BASE, 4), lambda: mapper.write(BASE, b"DAX!")):
        with pytest.raises(OSError, match=r"\w") as caught:
            access()
        assert caught.value.errno == ENOTSUP
    assert backend.names == ["map"]


def test_upgrade_is_one_protect_through_the_new_descriptor(file: HostFile) -> None:
    backend = ProtectingBackend()
    with backend.mapper() as mapper:
        fd = os.open(file.path, os.O_RDONLY)
        mapper.setup_mapping(fd, PAGE, 0, PAGE, writable=False)
        os.close(fd)
        mapper.setup_mapping(file.fd, PAGE, 0, PAGE, writable=True)
        assert backend.calls[1:] == [("protect", file.fd, 0, PAGE, True)]
        check_books(backend, mapper)
        mapper.remove_mapping(0, PAGE)
        mapper.setup_mapping(file.fd, PAGE, 0, PAGE, writable=False)
        backend.fail_next(Fault(raises=OSError(ENOSPC, "no"), works_first=True))
        with pytest.raises(OSError, match=r"\w") as caught:
            mapper.setup_mapping(file.fd, PAGE, 0, PAGE, writable=True)
        assert caught.value.errno == ENOSPC
        name, _, *arguments = backend.calls[-1]
        assert (name, arguments) == ("protect", [0, PAGE, False]), "undone, in case it had worked"
        assert backend.book == {0: Placed(file.inode, PAGE, PAGE, writable=False)}, "by a descriptor of the same file"
        check_books(backend, mapper)


def test_upgrade_without_protect_is_unmap_and_map_and_back_if_that_fails(file: HostFile) -> None:
    backend = RecordingBackend()
    with backend.mapper() as mapper:
        mapper.setup_mapping(file.fd, PAGE, 0, PAGE, writable=False)
        backend.fail_next(None, Fault(returns=5))
        with pytest.raises(OSError, match=r"\w"):
            mapper.setup_mapping(file.fd, PAGE, 0, PAGE, writable=True)
        unmap, new = ("unmap", 0, PAGE), ("map", file.fd, PAGE, 0, PAGE, True)
        assert backend.calls[1:3] == [unmap, new]
        name, fd, *arguments = backend.calls[3]
        assert (name, arguments) == ("map", [PAGE, 0, PAGE, False])
        assert fd != file.fd, "the descriptor of the first mapping may be closed: it is the mapper's own"
        assert backend.book == {0: Placed(file.inode, PAGE, PAGE, writable=False)}
        check_books(backend, mapper)
        mapper.setup_mapping(file.fd, PAGE, 0, PAGE, writable=True)
        assert backend.calls[4:] == [unmap, new]
        assert mapper.stats().upgrade_count == 1
        check_books(backend, mapper)
