"""A device of the VMM works on a buffer in the window, while the guest takes the range away."""

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from errno import EBUSY, EFAULT
from pathlib import Path

import pytest

from daxmap import DaxDispatcher, DaxMapper, guest
from daxmap.exits import Halted
from daxmap.fuse import FUSE_DESTROY, request
from daxmap.kvm import Vm
from support.files import HostFile
from support.guest_requests import READ_WRITE, UNIQUE, WHOLE_WINDOW, map_request, told, unmap_request
from support.guests import BASE
from support.host import PAGE

LENGTH = 2 << 20
SECTOR = 512
SENT = b"disk" * (SECTOR // 4)


class Device:
    """Reads a sector into the guest's buffer by one system call, which waits until the sector is there."""

    def __init__(self, mapper: DaxMapper, guest_address: int) -> None:
        self._source, self._disk = os.pipe()
        self._entered = threading.Event()
        self.result: int | OSError | None = None
        self._thread = threading.Thread(target=self._work, args=(mapper, guest_address))
        self._thread.start()
        self._entered.wait()

    def _work(self, mapper: DaxMapper, guest_address: int) -> None:
        with mapper.resolve(guest_address, SECTOR, writable=True) as pieces:
            buffers = [(ctypes.c_char * size).from_address(address) for address, size in pieces]
            self._entered.set()
            try:
                self.result = os.readv(self._source, buffers)
            except OSError as error:
                self.result = error

    def finish(self) -> None:
        """Let the sector come, and the device end its request."""
        os.write(self._disk, SENT)
        self._thread.join()
        os.close(self._source)
        os.close(self._disk)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[HostFile]:
    file = HostFile(tmp_path / "file", 8)
    yield file
    file.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[HostFile]:
    file = HostFile(tmp_path / "other", 8)
    yield file
    file.close()


@pytest.fixture
def dispatcher(mapper: DaxMapper, file: HostFile, other: HostFile) -> DaxDispatcher:
    """A share with two files, the first of which is mapped at the start of the window, for stores too."""
    dispatcher = DaxDispatcher(mapper, lambda nodeid, _fh, _writable: {1: file.fd, 2: other.fd}[nodeid])
    assert told(dispatcher.handle(map_request(1, 0, flags=READ_WRITE))) == 0
    return dispatcher


def test_guest_finds_what_the_device_read(vm: Vm, mapper: DaxMapper, dispatcher: DaxDispatcher, file: HostFile) -> None:
    device = Device(mapper, BASE + PAGE)
    device.finish()
    assert device.result == SECTOR
    assert vm.run(guest.load(BASE + PAGE)) == Halted((int.from_bytes(b"disk", "little"),))
    assert file.read(PAGE, SECTOR) == SENT
    assert told(dispatcher.handle(unmap_request((0, LENGTH)))) == 0


REQUESTS: dict[str, bytes] = {
    "remove": unmap_request((0, LENGTH)),
    "remove the page": unmap_request((PAGE, PAGE)),
    "remove the window": unmap_request((0, WHOLE_WINDOW)),
    "another file": map_request(2, 0, flags=READ_WRITE),
    "another file in a page": map_request(2, PAGE, length=PAGE, flags=READ_WRITE),
    "the same for reading": map_request(1, 0),
}


@pytest.mark.parametrize("message", REQUESTS.values(), ids=REQUESTS)
def test_guest_that_takes_the_range_away_is_told_busy(
    vm: Vm, mapper: DaxMapper, dispatcher: DaxDispatcher, file: HostFile, message: bytes
) -> None:
    device = Device(mapper, BASE + PAGE)
    assert told(dispatcher.handle(message)) == EBUSY
    device.finish()
    assert device.result == SECTOR
    assert file.read(PAGE, SECTOR) == SENT
    assert vm.run(guest.load(BASE + PAGE)) == Halted((int.from_bytes(b"disk", "little"),))
    assert told(dispatcher.handle(message)) == 0


RESTARTS: dict[str, Callable[[DaxMapper, DaxDispatcher], object]] = {
    "reboot": lambda _mapper, dispatcher: dispatcher.handle(request(FUSE_DESTROY, b"", unique=UNIQUE)),
    "reset": lambda mapper, _dispatcher: mapper.reset(),
    "drain": lambda mapper, _dispatcher: mapper.drain_all(),
}


@pytest.mark.parametrize("restart", RESTARTS.values(), ids=RESTARTS)
def test_guest_that_restarts_in_the_middle_gives_nobody_elses_memory_to_the_device(
    mapper: DaxMapper,
    dispatcher: DaxDispatcher,
    file: HostFile,
    other: HostFile,
    restart: Callable[[DaxMapper, DaxDispatcher], object],
) -> None:
    before = [each.read(0, 8 * PAGE) for each in (file, other)]
    device = Device(mapper, BASE + PAGE)
    restart(mapper, dispatcher)
    if not mapper.closed:
        assert told(dispatcher.handle(map_request(2, 0, flags=READ_WRITE))) == EBUSY
        assert told(dispatcher.handle(map_request(2, LENGTH, length=LENGTH, flags=READ_WRITE))) == 0
    own = [ctypes.create_string_buffer(PAGE) for _ in range(64)]
    device.finish()
    assert isinstance(device.result, OSError)
    assert device.result.errno == EFAULT
    assert [each.read(0, 8 * PAGE) for each in (file, other)] == before
    assert all(buffer.raw == bytes(PAGE) for buffer in own)
