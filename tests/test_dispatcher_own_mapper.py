"""A mapper that is the VMM's own, behind DaxDispatcher."""

import errno
from collections.abc import Sequence

import pytest

from daxmap import DaxDispatcher
from daxmap.fuse import FUSE_DESTROY, request
from guest_requests import READ_WRITE, SLOT, WHOLE_WINDOW, Opened, answer, init_request, map_request, unmap_request

NODE = 5


class Removed:
    errno = 0


class OwnMapper:
    """Remembers its calls, and raises what it is told to."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.error: BaseException | None = None
        self.live = 0
        self.result = Removed()

    def __len__(self) -> int:
        return self.live

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


def test_own_mapper_is_reset_while_it_has_mappings(own: OwnMapper) -> None:
    dispatcher = DaxDispatcher(own, lambda *_: 77)
    dispatcher.handle(init_request())
    assert own.calls == []
    own.live = 1
    dispatcher.handle(init_request())
    dispatcher.handle(request(FUSE_DESTROY, unique=1))
    assert own.calls == [("reset",), ("reset",)]


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
    own.error, own.live = error, 1
    assert dispatcher.handle(map_request(NODE, 0)) == answer(told_errno)
    assert dispatcher.handle(unmap_request((0, SLOT))) == answer(told_errno)
    assert dispatcher.handle(unmap_request((0, WHOLE_WINDOW))) == answer(told_errno)
    assert dispatcher.handle(init_request()) is None


def test_interrupt_of_an_own_mapper_passes_through(own: OwnMapper) -> None:
    opened = Opened(77)
    dispatcher = DaxDispatcher(own, lambda *_: opened)
    own.error, own.live = KeyboardInterrupt(), 1
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
