"""The example of a virtiofs share, and the session of a Linux guest that it serves."""

import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

import guest_session
import virtiofs_dispatcher
from daxmap import FUSE_NO_FH, DaxMapper, FileServer
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
from virtiofs_dispatcher import replay

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
def server(directory: Path, mapper: DaxMapper) -> FileServer:
    return FileServer(directory, mapper=mapper, dax="inode", min_size=4096)


def opcode(step: object) -> int | None:
    return InHeader.parse(step.message).opcode if isinstance(step, Request) else None


def bodies(steps: Iterable[Step], wanted: int, read: Callable[[bytes], T]) -> list[T]:
    """What `read` finds in the bodies of the requests with an opcode."""
    return [read(step.message[40:]) for step in steps if isinstance(step, Request) and opcode(step) == wanted]


def test_session_of_a_linux_guest_replays(server: FileServer, mapper: DaxMapper, directory: Path) -> None:
    steps = list(guest_session.guest_session())
    lines = list(replay(steps, server, mapper))
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


def test_replay_fails_if_the_window_shows_something_else(server: FileServer, mapper: DaxMapper) -> None:
    steps = list(guest_session.guest_session())
    first_load = next(index for index, step in enumerate(steps) if isinstance(step, Load))
    assert list(replay(steps[:first_load], server, mapper))
    with pytest.raises(RuntimeError, match="not what the guest expects"):
        list(replay([Load(2 * guest_session.SLOT, 4096, "large.bin", 0)], server, mapper))
    with pytest.raises(RuntimeError, match="not what the guest expects"):
        list(replay([Request("LOOKUP nothing", request(1, b"nothing\0", unique=1, nodeid=1))], server, mapper))


def test_only_large_files_are_marked(server: FileServer) -> None:
    for name, flags in (("data.bin", FUSE_ATTR_DAX), ("small.txt", 0)):
        reply = server.answer(request(1, name.encode() + b"\0", unique=1, nodeid=1))
        assert reply is not None
        assert struct.unpack("<I", reply[-4:])[0] == flags


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
