"""A share, and guests of it."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from daxmap import DaxMapper, FileServer
from support.fuse_client import Client
from support.guest_requests import SLOT
from support.windows import host_window

Serve = Callable[..., Client]


@pytest.fixture
def share(tmp_path: Path) -> Path:
    """A directory with one of each kind of file, beside one that no guest may reach."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"of the host")
    share = tmp_path / "share"
    (share / "dir" / "deep").mkdir(parents=True)
    (share / "file").write_bytes(b"hello" * 1000)
    (share / "dir" / "file").write_bytes(b"in dir")
    (share / "link").symlink_to(outside / "secret")
    (share / "dir" / "out").symlink_to("../../outside")
    os.mkfifo(share / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        directory = os.open(share, os.O_RDONLY)  # the path of a socket is short
        listener.bind(f"/proc/self/fd/{directory}/socket")
        os.close(directory)
    return share


@pytest.fixture
def mapper() -> Iterator[DaxMapper]:
    """Of four slots."""
    with host_window(0, 4 * SLOT) as mapper:
        yield mapper


@pytest.fixture
def serve(share: Path) -> Serve:
    """Makes a guest of a server of the share, or of another directory."""

    def make(directory: Path = share, **options: Any) -> Client:  # noqa: ANN401
        client = Client(FileServer(directory, **options))
        client.init()
        return client

    return make


@pytest.fixture
def guest(serve: Serve) -> Client:
    return serve()
