"""A command that serves, and what the tests do to it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from serve.serving import Serving

if sys.platform != "linux":
    pytest.skip("a vhost-user device needs Linux", allow_module_level=True)

Serve = Callable[..., Serving]


@pytest.fixture
def share(tmp_path: Path) -> Path:
    """A directory to serve."""
    directory = tmp_path / "share"
    directory.mkdir()
    (directory / "file").write_bytes(b"bytes")
    return directory


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts the command, in the folder that has the share, and ends it after the test."""
    with ExitStack() as stack:

        def start(*arguments: str) -> Serving:
            return stack.enter_context(Serving(tmp_path, arguments))

        yield start
