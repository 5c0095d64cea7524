"""A mapper, or a hypervisor behind the mapper, that is the VMM's own."""

import errno
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

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
from support.host import PAGE
from support.windows import host_window

NODE = 5


class OwnMapper:
    """Remembers its calls, raises what it is told to, and does not tell how many mappings it has."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.error: BaseException | None = None
        self.errors: dict[int, BaseException] = {}
        """Of `remove_range`, by window offset."""

    def _call(self, *call: object) -> None:
        self.calls.append(call)
        if self.error is not None:
            raise self.error

    def setup_mapping(self, *arguments: int, replace: bool) -> None:
        self._call("setup", *arguments, replace)

    def remove_range(self, window_offset: int, length: int, /) -> None:
        self._call("remove", window_offset, length)
        if window_offset in self.errors:
            raise self.errors[window_offset]

    def reset(self) -> None:
        self._call("reset")


@pytest.fixture
def own() -> OwnMapper:
    return OwnMapper()


def test_own_mapper_is_called(own: OwnMapper) -> None:
    opened = Opened(77)
    dispatcher = DaxDispatcher(own, lambda *_: opened)
    assert dispatcher.handle(map_request(NODE, SLOT, foffset=PAGE, flags=READ_WRITE)) == answer(0)
    assert dispatcher.handle(unmap_request((0, SLOT), (SLOT, PAGE))) == answer(0)
    assert dispatcher.handle(unmap_request((0, WHOLE_WINDOW))) == answer(0)
    assert own.calls == [
        ("setup", 77, PAGE, SLOT, SLOT, True, True),
        ("remove", 0, SLOT),
        ("remove", SLOT, PAGE),
        ("reset",),
    ]
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


def test_each_range_is_tried_and_the_first_error_is_told(own: OwnMapper, caplog: pytest.LogCaptureFixture) -> None:
    dispatcher = DaxDispatcher(own, lambda *_: 77)
    own.errors = {SLOT: BlockingIOError(errno.EBUSY, "busy"), 2 * SLOT: PermissionError(errno.EPERM, "mine")}
    request_ = unmap_request(*((slot * SLOT, SLOT) for slot in range(4)))
    assert dispatcher.handle(request_) == answer(errno.EBUSY)
    assert own.calls == [("remove", slot * SLOT, SLOT) for slot in range(4)]
    assert ["busy" in record.message for record in caplog.records] == [True, False]
    assert "mine" in caplog.text


def test_interrupt_ends_a_removal_at_once(own: OwnMapper) -> None:
    dispatcher = DaxDispatcher(own, lambda *_: 77)
    own.errors = {0: OSError(errno.EBUSY, "busy"), SLOT: KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        dispatcher.handle(unmap_request((0, SLOT), (SLOT, SLOT), (2 * SLOT, SLOT)))
    assert own.calls == [("remove", 0, SLOT), ("remove", SLOT, SLOT)]


@pytest.mark.parametrize("name", ["setup_mapping", "remove_range", "reset"])
def test_own_mapper_that_lacks_a_method_is_refused_by_name(own: OwnMapper, name: str) -> None:
    setattr(own, name, None)
    with pytest.raises(TypeError, match=f"OwnMapper.* has no method {name}"):
        DaxDispatcher(own, lambda *_: 77)


# Mappers whose length cannot be had: they may have mappings, so they are reset.


class Proxy:
    """Passes on whatever is asked for: but a `len()` does not ask the object."""

    def __init__(self, mapper: object) -> None:
        self._mapper = mapper

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._mapper, name)


def raising_length(error: BaseException) -> OwnMapper:
    class Failing(OwnMapper):
        def __len__(self) -> int:
            raise error

    return Failing()


def odd_length(length: object) -> OwnMapper:
    class Odd(OwnMapper):
        def __len__(self) -> int:
            return length  # type: ignore[return-value]

    return Odd()


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: Proxy(TellingMapper()), id="proxy"),
        pytest.param(lambda: raising_length(RuntimeError("no length")), id="RuntimeError"),
        pytest.param(lambda: raising_length(OSError(errno.ENODEV, "gone")), id="OSError"),
        pytest.param(lambda: odd_length(None), id="None"),
        pytest.param(lambda: odd_length(-1), id="-1"),
        pytest.param(lambda: odd_length(2**64), id="2**64"),
    ],
)
def test_own_mapper_whose_length_cannot_be_had_is_reset(make: Callable[[], OwnMapper]) -> None:
    own = make()
    dispatcher = DaxDispatcher(own, lambda *_: 77)
    assert dispatcher.handle(init_request()) is None
    assert dispatcher.handle(request(FUSE_DESTROY, unique=1)) is None
    assert own.calls == [("reset",), ("reset",)]
    assert dispatcher.status().live is None


def test_interrupt_of_a_length_passes_through() -> None:
    own = raising_length(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        DaxDispatcher(own, lambda *_: 77).handle(init_request())


def test_proxy_of_a_mapper_is_one(fd: int) -> None:
    with host_window(0, 4 * SLOT) as mapper:
        dispatcher = DaxDispatcher(Proxy(mapper), lambda *_: fd)
        assert dispatcher.handle(map_request(NODE, 0)) == answer(0)
        assert dispatcher.handle(map_request(NODE, 0, flags=READ_WRITE)) == answer(0)
        assert dispatcher.handle(map_request(NODE, SLOT)) == answer(0)
        assert dispatcher.handle(unmap_request((SLOT, SLOT), (2 * SLOT, SLOT))) == answer(0)
        assert [(live.window_offset, live.writable) for live in mapper] == [(0, True)]
        dispatcher.handle(init_request())
        assert len(mapper) == 0


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
