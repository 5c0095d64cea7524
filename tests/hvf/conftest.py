"""The stand-in with a VM, and a window over it for each test."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hvf.standin import Code, Standin, stand_in
from hvf.window import Window
from support.host import PAGE


@pytest.fixture(scope="session", autouse=True)
def linux() -> None:
    if sys.platform != "linux":
        pytest.skip("the stand-in for Hypervisor.framework needs Linux: /proc/self/maps, process_vm_readv")


@pytest.fixture
def standin() -> Iterator[Standin]:
    """The stand-in with a VM, and with the host's pages."""
    standin = stand_in()
    standin.reset(PAGE)
    assert standin.create() == Code.SUCCESS
    yield standin
    standin.reset(PAGE)


@pytest.fixture
def window(standin: Standin, tmp_path: Path) -> Iterator[Window]:
    with Window(standin, tmp_path) as window:
        yield window
