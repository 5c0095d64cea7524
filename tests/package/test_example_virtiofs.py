"""The example dispatcher, and the session of a Linux guest that it serves."""

import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import guest_session
import virtiofs_dispatcher
from daxmap import FUSE_NO_FH, DaxMapper
from daxmap.fuse import (
    FUSE_ATTR_DAX,
    FUSE_DESTROY,
    FUSE_REMOVEMAPPING,
    FUSE_SETUPMAPPING,
    InHeader,
    SetupMapping,
    request,
)
from guest_session import SIZES, WINDOW, Load, Request, Step, Store
from support.programs import TIMEOUT
from support.windows import host_window
from virtiofs_dispatcher import Device, replay

BASE = 4 << 30
T = TypeVar("T")


@pytest.fixture
def mapper() -> Iterator[DaxMapper]:
    with host_window(BASE, WINDOW) as mapper:
        yield mapper


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name, size in SIZES.items():
        (tmp_path / name).write_bytes(os.urandom(size))
    return tmp_path


@pytest.fixture
def device(directory: Path, mapper: DaxMapper) -> Iterator[Device]:
    device = Device(directory, mapper)
    yield device
    device.close()


def opcode(step: object) -> int | None:
    return InHeader.parse(step.message).opcode if isinstance(step, Request) else None


def bodies(steps: Iterable[Step], wanted: int, read: Callable[[bytes], T]) -> list[T]:
    """What `read` finds in the bodies of the requests with an opcode."""
    return [read(step.message[40:]) for step in steps if isinstance(step, Request) and opcode(step) == wanted]


def test_session_of_a_linux_guest_replays(device: Device, mapper: DaxMapper, directory: Path) -> None:
    steps = list(guest_session.guest_session())
    lines = list(replay(steps, device, mapper, directory))
    assert len(lines) >= len(steps)
    assert "DAX is used" in "".join(lines)

    stats = mapper.stats()
    assert stats.upgrade_count == 1
    assert stats.setup_count == len(bodies(steps, FUSE_SETUPMAPPING, len)) - 1
    removals = [
        step.message[40:44] for step in steps if isinstance(step, Request) and opcode(step) == FUSE_REMOVEMAPPING
    ]
    assert stats.remove_count == sum(int.from_bytes(count, "little") for count in removals)
    assert (stats.swept_count, stats.live_mappings, stats.errors) == (1, 0, {})
    assert stats.peak_mappings == WINDOW // guest_session.SLOT

    stored = next(step for step in steps if isinstance(step, Store))
    data = (directory / "data.bin").read_bytes()
    assert data[stored.file_offset :][: len(stored.data)] == stored.data
    assert data.endswith(guest_session.GROWN)


def test_session_shows_what_it_promises() -> None:
    """Mount, read, upgrade, reclaim, unmount: a session that lost one of them would still replay."""
    steps = list(guest_session.guest_session())
    maps = bodies(steps, FUSE_SETUPMAPPING, SetupMapping.parse)
    assert {(body.fh, body.length) for body in maps} == {(FUSE_NO_FH, 2 << 20)}
    reads, writes = ({(body.foffset, body.moffset) for body in maps if body.flags == flags} for flags in (2, 3))
    assert writes
    assert writes <= reads
    assert {1, 3} == set(bodies(steps, FUSE_REMOVEMAPPING, lambda body: body[0]))
    assert max(step.length for step in steps if isinstance(step, Load) and step.name == "data.bin") > SIZES["data.bin"]
    assert opcode(steps[-1]) != FUSE_DESTROY  # the last guest loses its power


def test_replay_fails_if_the_window_shows_something_else(device: Device, mapper: DaxMapper, directory: Path) -> None:
    steps = list(guest_session.guest_session())
    first_load = next(index for index, step in enumerate(steps) if isinstance(step, Load))
    assert list(replay(steps[:first_load], device, mapper, directory))
    with pytest.raises(RuntimeError, match="not what the guest expects"):
        list(replay([Load(2 * guest_session.SLOT, 4096, "large.bin", 0)], device, mapper, directory))
    with pytest.raises(RuntimeError, match="not what the guest expects"):
        list(
            replay([Request("LOOKUP nothing", request(1, b"nothing\0", unique=1, nodeid=1))], device, mapper, directory)
        )


def test_only_large_files_are_marked(device: Device) -> None:
    for name, flags in (("data.bin", FUSE_ATTR_DAX), ("small.txt", 0)):
        reply = device.serve(request(1, name.encode() + b"\0", unique=1, nodeid=1))
        assert struct.unpack("<I", reply[-4:])[0] == flags


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 52), st.integers(0, 5), st.binary(max_size=80), st.integers(0, 200))
def test_no_request_is_an_exception(device: Device, opcode: int, nodeid: int, body: bytes, kept: int) -> None:
    device.serve(request(1, b"data.bin\0", unique=1, nodeid=1))
    device.serve(request(14, bytes(8), unique=1, nodeid=2))
    reply = device.serve(request(opcode, body, unique=9, nodeid=nodeid)[:kept])
    assert reply == b"" or struct.unpack("<IiQ", reply[:16])[::2] == (len(reply), 9)


def test_program_runs(tmp_path: Path) -> None:
    program = virtiofs_dispatcher.__file__
    done = subprocess.run(
        [sys.executable, "-W", "error", program],
        capture_output=True,
        check=True,
        text=True,
        timeout=TIMEOUT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert done.stderr == ""
    assert "DAX is used" in done.stdout
    assert list(tmp_path.iterdir()) == []
