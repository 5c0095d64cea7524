"""A directory that is served, and a guest that has mounted it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from daxmap import DaxMapper, FileServer
from support.fuse_client import SLOT, Client
from support.windows import host_window

BASE = 4 << 30


@pytest.fixture
def mapper() -> Iterator[DaxMapper]:
    with host_window(BASE, 4 * SLOT) as mapper:
        yield mapper


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """What is served. The host has more beside it."""
    (directory := tmp_path / "share").mkdir()
    (tmp_path / "outside").write_bytes(b"none of the guest's business")
    return directory


@pytest.fixture
def server(directory: Path, mapper: DaxMapper) -> FileServer:
    return FileServer(directory, mapper=mapper)


@pytest.fixture
def guest(server: FileServer) -> Client:
    guest = Client(server)
    guest.init()
    return guest
