"""`HypervisorBackend`: what a hypervisor that is a Python object is asked for, and the host memory behind it."""

import fcntl
import gc
import os
from collections.abc import Iterator
from ctypes import c_size_t, c_void_p
from dataclasses import dataclass
from errno import EACCES, EFAULT, EIO, EPERM, EROFS

import pytest

from daxmap import Access, DaxMapper, HypervisorBackend
from support.files import HostFile
from support.host import LIBC, PAGE, peek, poke, vmas
from support.recording import (
    BASE,
    SIZE,
    Fault,
    ProtectingHypervisor,
    RecordingHypervisor,
    check_books,
)

READ_EXECUTE = Access.READ | Access.EXEC
READ_WRITE_EXECUTE = Access.READ | Access.WRITE | Access.EXEC
HYPERVISORS = [RecordingHypervisor, ProtectingHypervisor]
REFUSED = Fault(returns=5)


@pytest.fixture(params=HYPERVISORS, ids=lambda kind: kind.__name__)
def hypervisor(request: pytest.FixtureRequest) -> RecordingHypervisor:
    hypervisor: RecordingHypervisor = request.param()
    return hypervisor


@pytest.fixture
def recorder(hypervisor: RecordingHypervisor) -> RecordingHypervisor:
    return hypervisor


@pytest.fixture
def read_only_fd(file: HostFile) -> Iterator[int]:
    fd = os.open(file.path, os.O_RDONLY)
    yield fd
    os.close(fd)


@dataclass(frozen=True)
class Memory:
    """A mapping of a file in this process."""

    host_address: int
    length: int
    access: str


def memory_of(file: HostFile) -> list[Memory]:
    """Where this process maps the file."""
    found = [vma for vma in vmas() if vma.shown.inode == file.inode]
    return [Memory(vma.start, vma.end - vma.start, vma.shown.access) for vma in found]


def only_memory_of(file: HostFile) -> Memory:
    (memory,) = memory_of(file)
    return memory


def free(memory: Memory) -> None:
    """Free what a mapper left for good reason, since this process lives on."""
    assert LIBC.munmap(c_void_p(memory.host_address), c_size_t(memory.length)) == 0


# What it is asked for.


def test_hypervisor_is_given_the_file_at_the_windows_address(
    hypervisor: RecordingHypervisor, mapper: DaxMapper, file: HostFile
) -> None:
    mapper.setup_mapping(file.fd, PAGE, 5 * PAGE, 2 * PAGE, writable=False)
    memory = only_memory_of(file)
    assert hypervisor.calls == [("map", memory.host_address, BASE + 5 * PAGE, 2 * PAGE, READ_EXECUTE)]
    assert isinstance(hypervisor.calls[0][-1], Access)
    assert memory.length == 2 * PAGE
    assert peek(memory.host_address, 2 * PAGE) == file.read(PAGE, 2 * PAGE)
    mapper.remove_mapping(5 * PAGE, 2 * PAGE)
    assert hypervisor.calls[1:] == [("unmap", BASE + 5 * PAGE, 2 * PAGE)]
    assert memory_of(file) == []


def test_what_can_be_written_can_be_executed_too(
    hypervisor: RecordingHypervisor, mapper: DaxMapper, file: HostFile
) -> None:
    mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=True)
    assert hypervisor.calls[0][-1] == READ_WRITE_EXECUTE
    assert mapper.host_address is None


def test_memory_stays_until_the_guest_has_lost_it(
    hypervisor: RecordingHypervisor, mapper: DaxMapper, file: HostFile
) -> None:
    seen: list[bytes | None] = []
    mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False)
    memory = only_memory_of(file)
    hypervisor.on_call = lambda: seen.append(peek(memory.host_address, PAGE))
    mapper.remove_mapping(0, PAGE)
    assert seen == [file.read(0, PAGE)]


def test_neighbours_are_removed_one_by_one(hypervisor: RecordingHypervisor, mapper: DaxMapper, file: HostFile) -> None:
    for offset in range(0, 3 * PAGE, PAGE):
        mapper.setup_mapping(file.fd, 0, offset, PAGE, writable=False)
    hypervisor.fail_next(None, REFUSED)
    result = mapper.remove_mappings([(offset, PAGE) for offset in range(0, 3 * PAGE, PAGE)])
    assert (result.removed, result.failed) == (2, [(PAGE, PAGE, EIO)])
    assert hypervisor.names == ["map"] * 3 + ["unmap"] * 3
    check_books(hypervisor, mapper)


def test_the_vmm_reads_and_writes_through_the_memory(
    hypervisor: RecordingHypervisor, mapper: DaxMapper, file: HostFile, read_only_fd: int
) -> None:
    mapper.setup_mapping(read_only_fd, 0, 0, PAGE, writable=False)
    mapper.setup_mapping(file.fd, PAGE, PAGE, PAGE, writable=True)
    assert mapper.read(BASE + PAGE - 8, 16) == file.read(PAGE - 8, 16)
    mapper.write(BASE + PAGE, b"DAX!")
    assert file.read(PAGE, 4) == b"DAX!"
    for address, length, errno in ((BASE, 4, EACCES), (BASE + 2 * PAGE - 2, 4, EFAULT), (BASE + SIZE - 2, 4, EFAULT)):
        with pytest.raises(OSError, match=r"\w") as caught:
            mapper.write(address, bytes(length))
        assert caught.value.errno == errno
    os.truncate(file.path, PAGE)
    with pytest.raises(OSError, match=r"\w") as caught:
        mapper.read(BASE + PAGE, 4)
    assert caught.value.errno == EFAULT
    assert hypervisor.names == ["map", "map"]


# The host memory.


def test_memory_of_a_read_only_file_is_private(
    hypervisor: RecordingHypervisor, mapper: DaxMapper, file: HostFile, read_only_fd: int
) -> None:
    content = file.read(0, PAGE)
    mapper.setup_mapping(read_only_fd, 0, 0, PAGE, writable=False)
    memory = only_memory_of(file)
    assert memory.access == "rw-p", "the host side is writable, whatever the guest may do"
    assert hypervisor.book[BASE].host_address == memory.host_address
    assert poke(memory.host_address, b"never")
    assert file.read(0, PAGE) == content


def test_memory_of_a_writable_file_is_shared(
    hypervisor: RecordingHypervisor, mapper: DaxMapper, file: HostFile
) -> None:
    mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False)
    memory = only_memory_of(file)
    assert memory.access == "rw-s"
    assert hypervisor.book[BASE].access == READ_EXECUTE
    assert poke(memory.host_address, b"reach")
    assert file.read(0, 5) == b"reach"


def test_memory_of_a_read_only_mapper_is_private_whatever_the_file(
    hypervisor: RecordingHypervisor, file: HostFile
) -> None:
    content = file.read(0, PAGE)
    with hypervisor.mapper(readonly=True) as mapper:
        mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False)
        memory = only_memory_of(file)
        assert memory.access == "rw-p"
        assert poke(memory.host_address, b"never")
        for _ in range(2):  # an upgrade, and a new mapping
            with pytest.raises(OSError, match=r"\w") as caught:
                mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=True)
            assert caught.value.errno == EROFS
            assert hypervisor.names in (["map"], ["map", "unmap"])
            if len(mapper):
                mapper.remove_mapping(0, PAGE)
    assert file.read(0, PAGE) == content


def test_memory_of_a_file_sealed_against_writing_is_private(hypervisor: RecordingHypervisor, mapper: DaxMapper) -> None:
    fd = os.memfd_create("sealed", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, PAGE)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    mapper.setup_mapping(fd, 0, 0, PAGE, writable=False)
    for _ in range(2):
        with pytest.raises(OSError, match=r"\w") as caught:
            mapper.setup_mapping(fd, 0, 0, PAGE, writable=True)
        assert caught.value.errno == EPERM
        check_books(hypervisor, mapper)
        if len(mapper):
            mapper.remove_mapping(0, PAGE)
    os.close(fd)


def test_refused_map_leaves_no_memory(hypervisor: RecordingHypervisor, mapper: DaxMapper, file: HostFile) -> None:
    for fault in (REFUSED, Fault(raises=RuntimeError(), works_first=True)):
        hypervisor.fail_next(fault)
        with pytest.raises(OSError, match=r"\w"):
            mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=True)
        assert memory_of(file) == []
        assert hypervisor.book == {}


def test_leaked_memory_outlives_the_mapper(file: HostFile, hypervisor: RecordingHypervisor) -> None:
    mapper = hypervisor.mapper()
    mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=True)
    mapper.setup_mapping(file.fd, PAGE, PAGE, PAGE, writable=True)
    hypervisor.fail_next(REFUSED)
    mapper.drain_all()
    assert (mapper.stats().leaked_count, mapper.stats().swept_count) == (1, 1)
    del mapper
    gc.collect()
    memory = only_memory_of(file)
    assert hypervisor.book[BASE].host_address == memory.host_address
    assert peek(memory.host_address, PAGE) == file.read(0, PAGE)
    assert hypervisor.names == ["map", "map", "unmap", "unmap"]
    free(memory)


# The upgrade.


def test_upgrade_of_shared_memory_is_one_protect(file: HostFile) -> None:
    hypervisor = ProtectingHypervisor()
    with hypervisor.mapper() as mapper:
        mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False)
        memory = only_memory_of(file)
        mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=True)
        assert hypervisor.calls[1:] == [("protect", BASE, PAGE, READ_WRITE_EXECUTE)]
        assert only_memory_of(file) == memory
        assert mapper.stats().upgrade_count == 1
        check_books(hypervisor, mapper)


def check_exchange(hypervisor: RecordingHypervisor, mapper: DaxMapper, file: HostFile, fd: int) -> None:
    """Check an upgrade to new memory, from that of a mapping through `fd`."""
    mapper.setup_mapping(fd, 0, 0, PAGE, writable=False)
    old = only_memory_of(file)
    both: list[list[Memory]] = []
    hypervisor.on_call = lambda: both.append(memory_of(file))
    mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=True)
    new = only_memory_of(file)
    assert [call[0] for call in hypervisor.calls] == ["map", "unmap", "map"]
    assert [len(memories) for memories in both] == [2, 2], "nothing is taken before the new memory is there"
    assert (old in both[0], new in both[0]) == (True, True)
    assert new.access == "rw-s"
    assert hypervisor.book[BASE].host_address == new.host_address
    assert poke(new.host_address, b"reach")
    assert file.read(0, 5) == b"reach"
    assert mapper.stats().upgrade_count == 1
    check_books(hypervisor, mapper)


def test_upgrade_of_private_memory_is_unmap_and_map(
    hypervisor: RecordingHypervisor, mapper: DaxMapper, file: HostFile, read_only_fd: int
) -> None:
    check_exchange(hypervisor, mapper, file, read_only_fd)


def test_upgrade_without_protect_is_unmap_and_map(file: HostFile) -> None:
    hypervisor = RecordingHypervisor()
    with hypervisor.mapper() as mapper:
        check_exchange(hypervisor, mapper, file, file.fd)


def test_upgrade_through_a_read_only_fd_is_refused_before_anything_is_asked(
    hypervisor: RecordingHypervisor, mapper: DaxMapper, file: HostFile, read_only_fd: int
) -> None:
    for fd in (file.fd, read_only_fd):
        mapper.setup_mapping(fd, 0, 0, PAGE, writable=False)
        memory, calls = only_memory_of(file), list(hypervisor.calls)
        with pytest.raises(OSError, match=r"\w") as caught:
            mapper.setup_mapping(read_only_fd, 0, 0, PAGE, writable=True)
        assert caught.value.errno == EACCES
        assert (only_memory_of(file), hypervisor.calls) == (memory, calls)
        mapper.remove_mapping(0, PAGE)


@pytest.mark.parametrize("steps_before", [0, 1])
def test_failed_exchange_leaves_the_old_memory(
    hypervisor: RecordingHypervisor, mapper: DaxMapper, file: HostFile, read_only_fd: int, steps_before: int
) -> None:
    mapper.setup_mapping(read_only_fd, 0, 0, PAGE, writable=False)
    memory = only_memory_of(file)
    hypervisor.fail_next(*[None] * steps_before, REFUSED)  # the unmap, or the map of the new memory
    with pytest.raises(OSError, match=r"\w") as caught:
        mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=True)
    assert caught.value.errno == EIO
    assert only_memory_of(file) == memory
    assert hypervisor.book[BASE].host_address == memory.host_address
    assert hypervisor.book[BASE].access == READ_EXECUTE
    assert mapper.stats().lost_count == mapper.stats().upgrade_count == 0
    check_books(hypervisor, mapper)
    mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=True)


def test_exchange_whose_way_back_is_refused_too_is_lost_and_its_memory_freed(
    hypervisor: RecordingHypervisor, mapper: DaxMapper, file: HostFile, read_only_fd: int
) -> None:
    mapper.setup_mapping(read_only_fd, 0, 0, PAGE, writable=False)
    hypervisor.fail_next(None, REFUSED, REFUSED)
    with pytest.raises(OSError, match="lost") as caught:
        mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=True)
    assert caught.value.errno == EIO
    assert mapper.stats().lost_count == 1
    assert memory_of(file) == []
    check_books(hypervisor, mapper)
    mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=True)


def test_exchange_whose_way_back_raises_too_is_lost_and_its_memory_kept_until_that_is_settled(
    hypervisor: RecordingHypervisor, mapper: DaxMapper, file: HostFile, read_only_fd: int
) -> None:
    mapper.setup_mapping(read_only_fd, 0, 0, PAGE, writable=False)
    raises = Fault(raises=RuntimeError())
    # The new map, its undoing by an unmap, and the old map, whose undoing fails by itself: nothing is there.
    hypervisor.fail_next(None, raises, raises, raises)
    with pytest.raises(OSError, match="lost") as caught:
        mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=True)
    assert caught.value.errno == EIO
    assert len(mapper) == 0
    assert mapper.stats().lost_count == 2, "the old one, and the new one that the guest may see"
    assert {memory.access for memory in memory_of(file)} == {"rw-p", "rw-s"}
    check_books(hypervisor, mapper)
    mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=True)
    assert only_memory_of(file).access == "rw-s"
    check_books(hypervisor, mapper)


def test_failed_protect_is_undone(file: HostFile) -> None:
    hypervisor = ProtectingHypervisor()
    with hypervisor.mapper() as mapper:
        mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False)
        hypervisor.fail_next(Fault(raises=RuntimeError(), works_first=True))
        with pytest.raises(OSError, match=r"\w"):
            mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=True)
        assert hypervisor.calls[2] == ("protect", BASE, PAGE, READ_EXECUTE)
        check_books(hypervisor, mapper)


# Construction.


def test_method_that_is_missing_or_cannot_be_called_is_told_at_construction() -> None:
    class Whole:
        def map(self, *_: object) -> None: ...
        def unmap(self, *_: object) -> None: ...

    for name in ("map", "unmap", "protect"):
        wrong = Whole()
        setattr(wrong, name, 5)
        with pytest.raises(TypeError, match=rf"\b{name}\b.*not callable"):
            HypervisorBackend(wrong)
        with pytest.raises(TypeError, match=rf"\b{name}\b.*not callable"):
            DaxMapper(BASE, SIZE, wrong)
    for name in ("map", "unmap"):
        partial = type("Partial", (), {other: Whole.map for other in ("map", "unmap") if other != name})()
        with pytest.raises(TypeError, match=rf"Partial.*{name}"):
            HypervisorBackend(partial)
        with pytest.raises(TypeError, match=rf"Partial.*{name}"):
            DaxMapper(BASE, SIZE, partial)
