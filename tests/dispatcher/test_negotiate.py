"""What the guest and the device agree on about DAX, and whether it is used: negotiate, attr_flags, status."""

import mmap
import struct
import tempfile
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daxmap import DaxDispatcher, DaxMapper
from daxmap.fuse import (
    FUSE_ATTR_DAX,
    FUSE_DESTROY,
    FUSE_HAS_INODE_DAX,
    FUSE_INIT,
    FUSE_INIT_EXT,
    FUSE_MAP_ALIGNMENT,
    InitIn,
    InitOut,
    reply,
    request,
)
from support.guest_requests import DAX_FLAGS, SLOT, UNIQUE, init_request, map_request, unmap_request

ASYNC_READ = 1 << 0
SECURITY_CTX = 1 << 32
ALIGNMENT = mmap.PAGESIZE.bit_length() - 1
Policy = Literal["always", "inode", "never"]


def make(mapper: DaxMapper | None, dax: Policy = "always") -> DaxDispatcher:
    return DaxDispatcher(mapper, lambda *_: -1, dax=dax)


def own_reply(size: int = 64, flags: int = ASYNC_READ, flags2: int = 0) -> bytes:
    """The VMM's own reply to INIT, with bytes everywhere."""
    body = InitOut(7, 38, 1, flags, 2, 3, 4, 5, 6, 0, flags2, unused=bytes(range(1, 29))).build()
    return reply(UNIQUE, body.ljust(size, b"\xa5")[:size])


def flags_of(message: bytes) -> tuple[int, int, int]:
    """flags, map_alignment, flags2 of a reply of full length, at bytes 12, 30 and 32 of its body."""
    flags, alignment, flags2 = struct.unpack_from("<12xI14xHI", message, 16)
    return flags, alignment, flags2


def test_alignment_and_per_inode_dax_are_offered_to_a_guest_that_has_them(mapper: DaxMapper) -> None:
    answered = make(mapper).negotiate(init_request(), own_reply())
    assert flags_of(answered) == (ASYNC_READ | FUSE_MAP_ALIGNMENT | FUSE_INIT_EXT, ALIGNMENT, FUSE_HAS_INODE_DAX >> 32)


@pytest.mark.parametrize("flags", [FUSE_MAP_ALIGNMENT, FUSE_MAP_ALIGNMENT | FUSE_INIT_EXT])
def test_guest_without_per_inode_dax_is_offered_the_alignment_alone(mapper: DaxMapper, flags: int) -> None:
    answered = make(mapper).negotiate(init_request(flags), own_reply())
    assert flags_of(answered) == (ASYNC_READ | FUSE_MAP_ALIGNMENT, ALIGNMENT, 0)


def test_upper_flags_without_init_ext_are_not_believed(mapper: DaxMapper) -> None:
    asked = bytearray(init_request())
    struct.pack_into("<I", asked, 40 + 12, FUSE_MAP_ALIGNMENT)
    assert flags_of(make(mapper).negotiate(asked, own_reply())) == (ASYNC_READ | FUSE_MAP_ALIGNMENT, ALIGNMENT, 0)


def test_old_init_without_room_for_upper_flags_is_understood(mapper: DaxMapper) -> None:
    body = struct.pack("<4I", 7, 31, 0, FUSE_MAP_ALIGNMENT | FUSE_INIT_EXT)
    asked = request(FUSE_INIT, body, unique=UNIQUE)
    assert flags_of(make(mapper).negotiate(asked, own_reply()))[0] == ASYNC_READ | FUSE_MAP_ALIGNMENT


def test_own_upper_flags_are_kept(mapper: DaxMapper) -> None:
    own = own_reply(flags=FUSE_INIT_EXT, flags2=SECURITY_CTX >> 32)
    answered = make(mapper).negotiate(init_request(DAX_FLAGS | SECURITY_CTX), own)
    assert flags_of(answered)[2] == (SECURITY_CTX | FUSE_HAS_INODE_DAX) >> 32


def test_own_upper_flags_that_said_nothing_do_not_begin_to(mapper: DaxMapper) -> None:
    own = own_reply(flags=0, flags2=SECURITY_CTX >> 32)
    assert flags_of(make(mapper).negotiate(init_request(), own))[2] == FUSE_HAS_INODE_DAX >> 32


@pytest.mark.parametrize("size", [32, 34, 36, 40, 64, 72])
def test_reply_keeps_its_length_and_the_rest_of_its_bytes(mapper: DaxMapper, size: int) -> None:
    own = own_reply(size)
    answered = make(mapper).negotiate(init_request(), own)
    assert len(answered) == len(own)
    changed = {index for index, pair in enumerate(zip(own, answered, strict=True)) if pair[0] != pair[1]}
    in_flags, in_alignment, in_flags2 = {16 + 15}, {16 + 30}, {16 + 32}
    assert changed == in_flags | in_alignment | (in_flags2 if size >= 36 else set())


@pytest.mark.parametrize("size", [8, 24, 31])
def test_reply_without_room_for_the_alignment_offers_nothing(mapper: DaxMapper, size: int) -> None:
    dispatcher = make(mapper)
    assert dispatcher.negotiate(init_request(), own_reply(size)) == own_reply(size)
    status = dispatcher.status()
    assert status.state == "not offered"
    assert f"{size} bytes" in status.reason


@pytest.mark.parametrize("flags", [0, ASYNC_READ, FUSE_INIT_EXT | FUSE_HAS_INODE_DAX])
def test_guest_without_a_window_is_offered_nothing(mapper: DaxMapper, flags: int) -> None:
    dispatcher = make(mapper)
    assert dispatcher.negotiate(init_request(flags), own_reply()) == own_reply()
    assert dispatcher.status().state == "not offered"


def test_share_without_dax_offers_nothing(mapper: DaxMapper) -> None:
    for dispatcher in (make(None), make(mapper, "never")):
        assert dispatcher.negotiate(init_request(), own_reply()) == own_reply()
        assert dispatcher.status().state == "off"


@pytest.mark.parametrize(
    ("asked", "own"),
    [
        pytest.param(init_request(), reply(UNIQUE, error=-71), id="the VMM refuses"),
        pytest.param(
            request(FUSE_INIT, InitIn(8, 0, 0, DAX_FLAGS).build(), unique=UNIQUE), own_reply(), id="version 8"
        ),
        pytest.param(request(FUSE_DESTROY, unique=1), b"", id="no INIT, no reply"),
        pytest.param(map_request(2, 0), b"any reply", id="no INIT"),
        pytest.param(init_request()[:50], own_reply(), id="cut"),
        pytest.param(request(FUSE_INIT, bytes(15), unique=1), own_reply(), id="short"),
        pytest.param(b"", own_reply(), id="empty"),
    ],
)
def test_other_replies_pass_through(mapper: DaxMapper, asked: bytes, own: bytes) -> None:
    dispatcher = make(mapper)
    assert dispatcher.negotiate(asked, bytearray(own)) == own
    assert dispatcher.status().state == "waiting"


@pytest.mark.parametrize(
    ("own", "rule"),
    [
        (b"", "16 bytes"),
        (bytes(15), "16 bytes"),
        (own_reply()[:-1], "len"),
        (own_reply() + b"x", "len"),
        (reply(UNIQUE + 1, own_reply()[16:]), "unique"),
        (reply(UNIQUE, error=5), "error"),
        (reply(UNIQUE, error=-512), "error"),
        (reply(UNIQUE, b"body", error=-5), "16 bytes"),
    ],
)
def test_reply_that_a_guest_would_not_believe_is_a_value_error(mapper: DaxMapper, own: bytes, rule: str) -> None:
    for dispatcher in (make(mapper), make(None)):
        with pytest.raises(ValueError, match=f"of {len(own)} bytes: .*{rule}"):
            dispatcher.negotiate(init_request(), own)
        assert dispatcher.negotiate(map_request(2, 0), own) == own


@pytest.mark.parametrize("wrong", [None, 5, "text"])
def test_messages_that_are_no_buffers_are_type_errors(mapper: DaxMapper, wrong: bytes) -> None:
    with pytest.raises(TypeError):
        make(mapper).negotiate(wrong, own_reply())
    with pytest.raises(TypeError):
        make(mapper).negotiate(init_request(), wrong)


def test_messages_may_be_any_buffer_in_one_piece(mapper: DaxMapper) -> None:
    expected = make(mapper).negotiate(init_request(), own_reply())
    for kind in ("B", "c", "Q"):
        asked, own = (memoryview(message).cast(kind) for message in (init_request(), own_reply()))
        assert make(mapper).negotiate(asked, own) == expected


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=120) | st.binary(max_size=64).map(lambda body: request(FUSE_INIT, body, unique=UNIQUE)),
    st.integers(8, 80),
)
def test_no_request_is_an_exception_or_changes_the_length(mapper: DaxMapper, asked: bytes, size: int) -> None:
    own = reply(int.from_bytes(asked[8:16], "little"), own_reply(size)[16:])
    answered = make(mapper).negotiate(asked, own)
    assert len(answered) == len(own)
    assert answered[:28] == own[:28]


# Which files.


def test_policy_chooses_the_files(mapper: DaxMapper, tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large.bin"
    small.write_bytes(bytes(99))
    large.write_bytes(bytes(100))

    def marked(dispatcher: DaxDispatcher) -> list[int]:
        return [dispatcher.attr_flags(path.stat()) for path in (tmp_path, small, large)]

    def resolve(*_: object) -> int:
        return -1

    yes, no = FUSE_ATTR_DAX, 0
    assert FUSE_ATTR_DAX == 2
    assert marked(make(mapper)) == [no, yes, yes]
    assert marked(make(mapper, "inode")) == [no, no, no]
    assert marked(DaxDispatcher(mapper, resolve, dax="inode", min_size=0)) == [no, yes, yes]
    assert marked(make(mapper, "never")) == [no, no, no]
    assert marked(make(None)) == [no, no, no]
    assert marked(DaxDispatcher(mapper, resolve, dax="inode", min_size=100)) == [no, no, yes]
    rule = DaxDispatcher(mapper, resolve, dax="inode", min_size=0, rule=lambda stat: stat.st_size < 100)
    assert marked(rule) == [no, yes, no]
    both = DaxDispatcher(mapper, resolve, dax="inode", min_size=100, rule=lambda stat: stat.st_size < 100)
    assert marked(both) == [no, no, no]


# Whether it is used.


def test_status_follows_a_guest(mapper: DaxMapper) -> None:
    with tempfile.TemporaryFile() as file:
        fds = {1: file.fileno(), 2: -1}
        dispatcher = DaxDispatcher(mapper, lambda nodeid, _fh, _writable: fds[nodeid])

        def mount() -> None:
            dispatcher.handle(init_request())
            dispatcher.negotiate(init_request(), own_reply())

        assert dispatcher.status().state == "waiting"
        mount()
        status = dispatcher.status()
        assert (status.state, status.mapped, status.refused, status.live) == ("offered", 0, {}, 0)

        dispatcher.handle(map_request(2, 0))
        dispatcher.handle(map_request(2, 0))
        status = dispatcher.status()
        assert (status.state, status.mapped, status.refused, status.live) == ("refused", 0, {9: 2}, 0)
        told = "refused with Linux errno 9 (EBADF): 2"
        warned = "; the last warning: setup_mapping: fstat of fd -1: Bad file descriptor"
        assert str(status) == f"DAX is refused: SETUPMAPPING requests {told}{warned}"

        dispatcher.handle(map_request(1, 0))
        dispatcher.handle(map_request(1, SLOT))
        dispatcher.handle(unmap_request((0, SLOT)))
        dispatcher.handle(unmap_request((0, SLOT)))
        status = dispatcher.status()
        assert (status.state, status.mapped, status.refused, status.live) == ("used", 2, {9: 2}, 1)
        used = f"SETUPMAPPING requests that succeeded: 2, {told}; live mappings: 1"
        assert str(status) == f"DAX is used: {used}{warned}"

        mount()
        status = dispatcher.status()
        assert (status.state, status.mapped, status.refused, status.live) == ("offered", 0, {}, 0)


def test_guest_that_maps_without_being_offered_is_seen(mapper: DaxMapper) -> None:
    with tempfile.TemporaryFile() as file:
        dispatcher = DaxDispatcher(mapper, lambda *_: file.fileno())
        dispatcher.negotiate(init_request(0), own_reply())
        dispatcher.handle(map_request(1, 0))
        assert dispatcher.status().state == "used"
    mapper.reset()


def test_status_says_why_dax_is_off(mapper: DaxMapper) -> None:
    assert "no mapper" in str(make(None).status())
    assert "never" in str(make(mapper, "never").status())
