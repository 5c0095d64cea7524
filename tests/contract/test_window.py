"""The host window: where it lies, how long its addresses are kept, and who frees them."""

import itertools
import logging
from errno import EBUSY
from pathlib import Path

import pytest

from daxmap import DaxMapper, HostWindowBackend
from support.host import HOLE, PAGE, Piece, peek, shown_in
from support.rigs import HostWindowRig, address_of

BASE = 1 << 32
SIZE = 4 << 20


def all_holes(start: int, size: int = SIZE) -> bool:
    """Whether the range is reserved and shows nothing."""
    return shown_in(start, start + size) == [Piece(start, start + size, HOLE)]


def none_reserved(start: int, size: int = SIZE) -> bool:
    """Whether no part of the range is reserved. What else may have come to lie there is not asked."""
    return all(piece.shown != HOLE for piece in shown_in(start, start + size))


@pytest.mark.parametrize("size", [PAGE, 3 * PAGE, 2 << 20, (2 << 20) + PAGE, 64 << 20, 1 << 40])
def test_window_is_reserved_at_a_multiple_of_2_mib(size: int) -> None:
    backend = HostWindowBackend()
    with DaxMapper(BASE, size, backend) as mapper:
        address = address_of(mapper)
        assert address % (2 << 20) == 0
        assert all_holes(address, size)
        assert peek(address, 1) is None
        assert peek(address + size - 1, 1) is None
    backend.release()


def test_reservation_takes_no_swap() -> None:
    def no_reserve_flags(address: int) -> str:
        flags = ""
        inside = False
        for line in Path("/proc/self/smaps").read_text().splitlines():
            head = line.split()[0]
            if "-" in head and not head.endswith(":"):
                start, end = (int(part, 16) for part in head.split("-"))
                inside = start <= address < end
            elif inside and head == "VmFlags:":
                flags = line
        return flags

    backend = HostWindowBackend()
    with DaxMapper(BASE, SIZE, backend) as mapper:
        assert " nr" in no_reserve_flags(address_of(mapper))
    backend.release()


def test_window_is_its_own(plain_rig: HostWindowRig) -> None:
    windows = [plain_rig.open(SIZE) for _ in range(8)]
    starts = sorted(address_of(window.mapper) for window in windows)
    assert all(low + SIZE <= high for low, high in itertools.pairwise(starts))


def test_address_stays_when_the_mapper_is_drained(plain_rig: HostWindowRig) -> None:
    subject = plain_rig.open(SIZE)
    subject.map(plain_rig.file(), 0)
    address = address_of(subject.mapper)
    subject.mapper.reset()
    assert address_of(subject.mapper) == address
    subject.mapper.drain_all()
    subject.model.clear()
    assert address_of(subject.mapper) == address
    assert all_holes(address)


def test_reservation_outlives_drain_and_drop_until_release(plain_rig: HostWindowRig) -> None:
    file = plain_rig.file()
    backend = HostWindowBackend()
    with DaxMapper(BASE, SIZE, backend) as mapper:
        mapper.setup_mapping(file.fd, 0, PAGE, PAGE, writable=True)
        address = address_of(mapper)
    assert all_holes(address)
    del mapper
    assert all_holes(address)
    backend.release()
    assert none_reserved(address)


def test_release_waits_for_the_drain() -> None:
    backend = HostWindowBackend()
    mapper = DaxMapper(BASE, SIZE, backend)
    for _ in range(2):
        with pytest.raises(OSError, match="drained") as caught:
            backend.release()
        assert caught.value.errno == EBUSY
        assert all_holes(address_of(mapper))
    mapper.drain_all()
    backend.release()
    backend.release()


def test_release_again_frees_nothing_that_came_later() -> None:
    backend = HostWindowBackend()
    with DaxMapper(BASE, SIZE, backend):
        pass
    backend.release()
    other = HostWindowBackend()
    with DaxMapper(BASE, SIZE, other) as mapper:  # most likely at the addresses that have just become free
        backend.release()
        assert all_holes(address_of(mapper))
    other.release()


def test_release_of_a_backend_without_a_mapper() -> None:
    backend = HostWindowBackend()
    backend.release()
    backend.release()


def test_backend_dropped_without_release_keeps_its_addresses_and_warns(caplog: pytest.LogCaptureFixture) -> None:
    backend = HostWindowBackend()
    with DaxMapper(BASE, SIZE, backend) as mapper:
        address = address_of(mapper)
    with pytest.warns(ResourceWarning, match="release"), caplog.at_level(logging.WARNING, "daxmap"):
        del backend
    assert [record.name for record in caplog.records] == ["daxmap"]
    assert hex(address) in caplog.text
    assert all_holes(address)


def test_backend_without_a_mapper_is_dropped_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    backend = HostWindowBackend()
    del backend
    assert caplog.records == []


def test_backend_dropped_before_its_mapper_keeps_the_addresses() -> None:
    with pytest.warns(ResourceWarning, match="release"):
        mapper = DaxMapper(BASE, SIZE, HostWindowBackend())
    address = address_of(mapper)
    mapper.drain_all()
    del mapper
    assert all_holes(address)


def test_repr_tells_the_stage() -> None:
    backend = HostWindowBackend()
    stages = [repr(backend)]
    with DaxMapper(BASE, SIZE, backend):
        stages.append(repr(backend))
    stages.append(repr(backend))
    backend.release()
    stages.append(repr(backend))
    assert len(set(stages)) == 4


def test_exception_that_leaves_the_block_is_not_hidden_by_a_window_in_use() -> None:
    backend = HostWindowBackend()
    mapper = DaxMapper(1 << 32, "2MiB", backend)

    def leave_by_an_exception() -> None:
        with backend:
            raise RuntimeError("the real one")

    with pytest.raises(RuntimeError, match="the real one"):
        leave_by_an_exception()
    mapper.close()
    backend.release()


def test_block_that_ends_before_the_mapper_says_so() -> None:
    backend = HostWindowBackend()
    with DaxMapper(1 << 32, "2MiB", backend), pytest.raises(OSError, match="close it first"), backend:
        pass
    backend.release()
