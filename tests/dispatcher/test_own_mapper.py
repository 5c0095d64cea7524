"""A mapper, or a hypervisor behind the mapper, that is the VMM's own."""

import errno
import tempfile
from collections.abc import Callable, Iterator, Sequence

import pytest

from daxmap import DaxDispatcher, DaxMapper, HypervisorBackend
from daxmap.fuse import FUSE_DESTROY, request
from support.guest_requests import (
    READ_WRITE,
    SLOT,
    WHOLE_WINDOW,
    Opened,
    answer,
    init_request,
    map_request,
    unmap_request,
)

NODE = 5


class Removed:
    errno = 0


class OwnMapper:
    """Remembers its calls, raises what it is told to, and does not tell how many mappings it has."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.error: BaseException | None = None
        self.result = Removed()

    def _call(self, *call: object) -> None:
        self.calls.append(call)
        if self.error is not None:
            raise self.error

    def setup_mapping(self, *arguments: int) -> None:
        self._call("setup", *arguments)

    def remove_mappings(self, mappings: Sequence[tuple[int, int]], /) -> Removed:
        self._call("remove", *mappings)
        return self.result

    def reset(self) -> None:
        self._call("reset")


@pytest.fixture
def own() -> OwnMapper:
    return OwnMapper()


def test_own_mapper_is_called(own: OwnMapper) -> None:
    opened = Opened(77)
    dispatcher = DaxDispatcher(own, lambda *_: opened)
    assert dispatcher.handle(map_request(NODE, SLOT, foffset=4096, flags=READ_WRITE)) == answer(0)
    assert dispatcher.handle(unmap_request((0, SLOT), (SLOT, 4096))) == answer(0)
    assert dispatcher.handle(unmap_request((0, WHOLE_WINDOW))) == answer(0)
    assert own.calls == [("setup", 77, 4096, SLOT, SLOT, True), ("remove", (0, SLOT), (SLOT, 4096)), ("reset",)]
    assert opened.closed == 1


class TellingMapper(OwnMapper):
    live = 0

    def __len__(self) -> int:
        return self.live


def test_own_mapper_is_reset_with_init_and_destroy(own: OwnMapper) -> None:
    dispatcher = DaxDispatcher(own, lambda *_: 77)
    dispatcher.handle(init_request())
    dispatcher.handle(request(FUSE_DESTROY, unique=1))
    assert own.calls == [("reset",), ("reset",)]
    dispatcher.handle(map_request(NODE, 0))
    assert dispatcher.status().live is None
    assert str(dispatcher.status()) == "DAX is used: SETUPMAPPING requests that succeeded: 1"


def test_own_mapper_that_has_no_mappings_is_not_reset() -> None:
    own = TellingMapper()
    dispatcher = DaxDispatcher(own, lambda *_: 77)
    dispatcher.handle(init_request())
    assert own.calls == []
    own.live = 3
    dispatcher.handle(init_request())
    assert own.calls == [("reset",)]
    assert dispatcher.status().live == 3


@pytest.mark.parametrize(
    ("error", "told_errno"),
    [
        (FileExistsError(errno.EEXIST, "there"), errno.EEXIST),
        (OSError("no errno"), errno.EIO),
        (OSError(0, "no error"), errno.EIO),
        (OSError(-5, "negative"), errno.EIO),
        (OSError(2**40, "huge"), errno.EIO),
        (RuntimeError("a bug"), errno.EIO),
    ],
)
def test_exception_of_an_own_mapper_is_an_answer(own: OwnMapper, error: Exception, told_errno: int) -> None:
    dispatcher = DaxDispatcher(own, lambda *_: 77)
    own.error = error
    assert dispatcher.handle(map_request(NODE, 0)) == answer(told_errno)
    assert dispatcher.handle(unmap_request((0, SLOT))) == answer(told_errno)
    assert dispatcher.handle(unmap_request((0, WHOLE_WINDOW))) == answer(told_errno)
    assert dispatcher.handle(init_request()) is None


def test_interrupt_of_an_own_mapper_passes_through(own: OwnMapper) -> None:
    opened = Opened(77)
    dispatcher = DaxDispatcher(own, lambda *_: opened)
    own.error = KeyboardInterrupt()
    for request_ in (map_request(NODE, 0), unmap_request((0, SLOT)), init_request()):
        with pytest.raises(KeyboardInterrupt):
            dispatcher.handle(request_)
    assert opened.closed == 1


def test_result_of_an_own_mapper_is_told(own: OwnMapper) -> None:
    dispatcher = DaxDispatcher(own, lambda *_: 77)
    own.result.errno = errno.EBUSY
    assert dispatcher.handle(unmap_request((0, SLOT))) == answer(errno.EBUSY)
    own.result = None  # type: ignore[assignment]
    assert dispatcher.handle(unmap_request((0, SLOT))) == answer(errno.EIO)


class OwnHypervisor:
    """Does what it is told to when a range is mapped."""

    def __init__(self, on_map: Callable[[], object]) -> None:
        self.on_map = on_map

    def map(self, *_: int) -> None:
        self.on_map()

    def unmap(self, *_: int) -> None:
        pass


def raising(error: BaseException) -> Callable[[], object]:
    def on_map() -> object:
        raise error

    return on_map


@pytest.fixture
def fd() -> Iterator[int]:
    with tempfile.TemporaryFile() as file:
        yield file.fileno()


def test_exception_of_a_hypervisor_is_eio(fd: int) -> None:
    hypervisor = OwnHypervisor(raising(FileExistsError(errno.EEXIST, "there")))
    with DaxMapper(0, SLOT, HypervisorBackend(hypervisor)) as mapper:
        assert DaxDispatcher(mapper, lambda *_: fd).handle(map_request(NODE, 0)) == answer(errno.EIO)
        assert len(mapper) == 0


def test_interrupt_of_a_hypervisor_passes_through(fd: int) -> None:
    hypervisor = OwnHypervisor(raising(KeyboardInterrupt()))
    opened = Opened(fd)
    with DaxMapper(0, SLOT, HypervisorBackend(hypervisor)) as mapper:
        with pytest.raises(KeyboardInterrupt):
            DaxDispatcher(mapper, lambda *_: opened).handle(map_request(NODE, 0))
        assert (len(mapper), opened.closed) == (0, 1)


def test_request_inside_a_callback_of_its_mapper_is_no_deadlock(fd: int) -> None:
    inside: list[bytes | None] = []

    def on_map() -> None:
        requests = map_request(NODE, 0), unmap_request((0, SLOT)), unmap_request((0, WHOLE_WINDOW)), init_request()
        inside.extend(dispatcher.handle(request_) for request_ in requests)

    with DaxMapper(0, 2 * SLOT, HypervisorBackend(OwnHypervisor(on_map))) as mapper:
        dispatcher = DaxDispatcher(mapper, lambda *_: fd)
        assert dispatcher.handle(map_request(NODE, 0)) == answer(0)
        assert inside == [answer(35), answer(35), answer(35), None]
        assert len(mapper) == 1
