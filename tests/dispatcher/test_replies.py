"""Every reply, whatever comes in and whatever goes wrong: one that Linux 7.1 believes, with an errno it can end on."""

import errno
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daxmap import DaxDispatcher, DaxMapper
from daxmap.fuse import FUSE_DESTROY, FUSE_INIT, FUSE_REMOVEMAPPING, FUSE_SETUPMAPPING, request
from support import faults
from support.children import Body, Scenarios, name_of, run_in_child
from support.faults import Call, Fault
from support.guest_requests import SLOT, WHOLE_WINDOW, init_request, map_request, told, unmap_request
from support.host import PAGE
from support.rig import Rig
from support.windows import host_window

ERRNOS = [*range(1, 4096), -5, 0, 2**31]
"""What a resolver, a mapper and a backend may raise: errnos, Linux's own numbers, and what is no errno."""

SETUP = map_request(5, 0)
REMOVE = unmap_request((0, SLOT))
scenario = Scenarios()


def is_believed(reply: bytes, unique: int) -> bool:
    """`virtio_fs_verify_response` of Linux 7.1: the length put into the used ring is that of the reply."""
    length, error, number = struct.unpack_from("<IiQ", reply)
    return bool(length == len(reply) and number == unique and (error == 0 or (-512 < error < 0 and length == 16)))


def in_setup(number: int) -> int:
    """The errno that a guest is told of one that was raised for its SETUPMAPPING."""
    instead = {errno.EAGAIN: errno.EIO, errno.EINTR: errno.EIO, errno.ENOMEM: errno.ENOSPC}
    return instead.get(number, elsewhere(number))


def elsewhere(number: int) -> int:
    return number if 1 <= number <= 511 else errno.EIO


class Refusing:
    """A resolver, a mapper and a backend: all raise, but for the backend's way back."""

    def __init__(self) -> None:
        self.error: BaseException = OSError()

    def __call__(self, *_: object) -> int:
        raise self.error

    def setup_mapping(self, *_: object, replace: bool) -> None:
        assert replace
        raise self.error

    remove_range = reset = map = __call__

    def unmap(self, *_: object) -> None:
        pass


@pytest.fixture
def fd() -> Iterator[int]:
    with tempfile.TemporaryFile() as file:
        yield file.fileno()


def check_setups(dispatcher: DaxDispatcher, refusing: Refusing) -> None:
    """Raise every errno, and check that the guest is told it by the table, and that `status` counts that."""
    dispatcher.handle(init_request())
    counts: dict[int, int] = {}
    for number in ERRNOS:
        refusing.error = OSError(number, "refused")
        assert told(dispatcher.handle(SETUP)) == in_setup(number), number
        counts[in_setup(number)] = counts.get(in_setup(number), 0) + 1
    status = dispatcher.status()
    assert (status.mapped, status.refused) == (0, counts)
    assert list(counts) != sorted(counts)
    assert list(status.refused) == sorted(counts)


def test_each_errno_of_a_resolver(mapper: DaxMapper) -> None:
    refusing = Refusing()
    check_setups(DaxDispatcher(mapper, refusing), refusing)
    assert (len(mapper), mapper.stats().errors) == (0, {})


def test_each_errno_of_a_mapper(fd: int) -> None:
    refusing = Refusing()
    dispatcher = DaxDispatcher(refusing, lambda *_: fd)
    check_setups(dispatcher, refusing)
    for number in ERRNOS:
        refusing.error = OSError(number, "refused")
        for message in (REMOVE, unmap_request((0, WHOLE_WINDOW))):
            assert told(dispatcher.handle(message)) == elsewhere(number), number
        for message in (init_request(), request(FUSE_DESTROY, unique=1)):
            assert dispatcher.handle(message) is None


def test_each_errno_of_a_backend(fd: int) -> None:
    refusing = Refusing()
    with DaxMapper(0, SLOT, refusing) as mapper:
        check_setups(DaxDispatcher(mapper, lambda *_: fd), refusing)
        assert len(mapper) == 0


class Clinging:
    """A backend that takes no range back."""

    def __init__(self) -> None:
        self.error: OSError | None = None

    def map(self, *_: object) -> None:
        pass

    def unmap(self, *_: object) -> None:
        if self.error is not None:
            raise self.error


def test_each_errno_of_a_backend_that_takes_nothing_back(fd: int) -> None:
    clinging = Clinging()
    with DaxMapper(0, SLOT, clinging) as mapper:
        dispatcher = DaxDispatcher(mapper, lambda *_: fd)
        for number in ERRNOS:
            clinging.error = None
            assert told(dispatcher.handle(SETUP)) == 0
            clinging.error = OSError(number, "kept")
            for message in (REMOVE, unmap_request((0, WHOLE_WINDOW))):
                assert 0 <= told(dispatcher.handle(message)) <= 511
        clinging.error = None


@scenario
def each_errno_of_mmap(rig: Rig) -> None:
    subject = rig.open()
    file = rig.file()
    subject.map(file, 0)
    subject.remove(0)
    dispatcher = DaxDispatcher(subject.mapper, lambda *_: file.fd)
    message = map_request(5, 0, length=PAGE)
    for number in range(1, 4096):
        faults.plan(Call.PLACE, Fault(number))
        assert told(dispatcher.handle(message)) == in_setup(number), number
    assert sum(dispatcher.status().refused.values()) == 4095
    assert told(dispatcher.handle(message)) == 0
    subject.mapper.reset()


@pytest.mark.parametrize("body", scenario, ids=name_of)
def test_fault(fault_library: Path, tmp_path: Path, body: Body) -> None:
    run_in_child(body, "host-window", tmp_path, preload=fault_library)


@pytest.mark.parametrize(
    ("number", "name"), [(errno.EAGAIN, "EIO"), (errno.EINTR, "EIO"), (errno.ENOMEM, "ENOSPC"), (512, "EIO")]
)
def test_what_came_in_and_what_goes_out_are_logged(
    mapper: DaxMapper, caplog: pytest.LogCaptureFixture, number: int, name: str
) -> None:
    def resolve(*_: object) -> int:
        raise OSError(number, "try again")

    assert told(DaxDispatcher(mapper, resolve).handle(SETUP)) == getattr(errno, name)
    came_in, goes_out = (record.message for record in caplog.records)
    assert came_in.startswith("resolver: ")
    assert came_in.endswith(f"[Errno {number}] try again")
    assert goes_out == f"the guest is told {name} in place of errno {number}"


def test_errno_that_goes_out_as_it_came_is_logged_once(mapper: DaxMapper, caplog: pytest.LogCaptureFixture) -> None:
    refusing = Refusing()
    refusing.error = PermissionError(errno.EACCES, "not yours")
    assert told(DaxDispatcher(mapper, refusing).handle(SETUP)) == errno.EACCES
    assert len(caplog.records) == 1


# Any bytes.

opcodes = st.sampled_from([FUSE_SETUPMAPPING, FUSE_REMOVEMAPPING] * 3 + [FUSE_INIT, FUSE_DESTROY, 1])
words = st.sampled_from([0, 1, 2, 3, PAGE, SLOT, 8 * SLOT, WHOLE_WINDOW]) | st.integers(0, 2**64 - 1)
bodies = (
    st.tuples(*[words] * 5).map(lambda values: struct.pack("<5Q", *values))
    | st.lists(words, max_size=6).map(lambda values: struct.pack(f"<I{len(values)}Q", len(values) // 2, *values))
    | st.binary(max_size=80)
)
messages = st.builds(
    lambda opcode, body, unique, nodeid: request(opcode, body, unique=unique, nodeid=nodeid),
    opcodes,
    bodies,
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**64 - 1),
)
broken = st.tuples(messages, st.integers(0, 120), st.integers(0, 255)).map(
    lambda parts: bytes(parts[2] if index == parts[1] else byte for index, byte in enumerate(parts[0]))
)
cut = st.tuples(messages, st.integers(0, 120)).map(lambda parts: parts[0][: parts[1]])
numbers = st.sampled_from(ERRNOS) | st.integers()
errors = st.builds(OSError, numbers, st.text()) | st.sampled_from([OSError(), RuntimeError("a bug"), KeyError(1)])
results = st.none() | errors


class Whim:
    """A resolver, and the two kinds of mapper and backend of a VMM's own, whose calls end as it is told."""

    def __init__(self, fd: int, ends: list[Exception | None]) -> None:
        self.fd = fd
        self.ends = ends

    def _call(self, *_: object, **_keywords: object) -> None:
        if self.ends and (error := self.ends.pop()) is not None:
            raise error

    def __call__(self, *_: object) -> int:
        self._call()
        return self.fd

    setup_mapping = remove_range = reset = map = unmap = protect = _call


def host_mapper(_whim: Whim) -> Iterator[DaxMapper]:
    with host_window(0, 8 * SLOT) as mapper:
        yield mapper


def backed_mapper(whim: Whim) -> Iterator[DaxMapper]:
    with DaxMapper(0, 8 * SLOT, whim, max_mappings=2) as mapper:
        yield mapper
        whim.ends.clear()


def own_mapper(whim: Whim) -> Iterator[Whim]:
    yield whim


def no_mapper(_whim: Whim) -> Iterator[None]:
    yield None


@pytest.mark.parametrize("make", [host_mapper, backed_mapper, own_mapper, no_mapper])
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(messages | messages | broken | cut | st.binary(max_size=100), max_size=8), st.lists(results, max_size=8)
)
def test_each_reply_is_believed(
    fd: int,
    make: Callable[[Whim], Iterator[DaxMapper | Whim | None]],
    sequence: list[bytes],
    ends: list[Exception | None],
) -> None:
    whim = Whim(fd, ends)
    made = make(whim)
    dispatcher = DaxDispatcher(next(made), whim)
    for message in sequence:
        reply = dispatcher.handle(message)
        opcode, unique = struct.unpack("<4xIQ", message[:16].ljust(16, b"\0"))
        is_ours = len(message) >= 40 and opcode in {FUSE_SETUPMAPPING, FUSE_REMOVEMAPPING}
        assert (reply is not None) == is_ours
        if reply is not None:
            assert is_believed(reply, unique)
            assert len(reply) == 16
            told_ = -struct.unpack_from("<i", reply, 4)[0]
            assert opcode != FUSE_SETUPMAPPING or told_ not in {errno.EAGAIN, errno.EINTR, errno.ENOMEM}
    assert next(made, None) is None


own_replies = st.builds(
    lambda length, error, unique, body: struct.pack("<IiQ", (16 + len(body) + length) % 2**32, error, unique) + body,
    st.sampled_from([0] * 8 + [-1, 1, 2**31]),
    st.sampled_from([0] * 8 + [-5, 5, -511, -512, -(2**31)]),
    st.sampled_from([7] * 8 + [0, 2**64 - 1]),
    st.binary(max_size=80) | st.sampled_from([bytes(64), b""]),
) | st.binary(max_size=90)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(own_replies, st.integers(0, 2**32 - 1), st.integers(6, 8), st.binary(max_size=48))
def test_each_negotiated_reply_is_believed(mapper: DaxMapper, own: bytes, flags: int, major: int, rest: bytes) -> None:
    asked = request(FUSE_INIT, struct.pack("<4I", major, 41, 0, flags) + rest, unique=7)
    dispatcher = DaxDispatcher(mapper, lambda *_: -1)
    if len(own) < 16 or not is_believed(own, 7):
        with pytest.raises(ValueError, match="bytes"):
            dispatcher.negotiate(asked, own)
    else:
        negotiated = dispatcher.negotiate(asked, own)
        assert is_believed(negotiated, 7)
        assert len(negotiated) == len(own)
