"""The stand-in, built once, and a window over it for each test."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hvf.standin import Code, Standin, build_library
from hvf.window import PAGE, Window


@pytest.fixture(scope="session", autouse=True)
def linux() -> None:
    if sys.platform != "linux":
        pytest.skip("the stand-in for Hypervisor.framework needs Linux: /proc/self/maps, process_vm_readv")


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_library(tmp_path_factory.mktemp("hvf"), "standin.c", "vcpu.c")


@pytest.fixture
def standin(library: Path) -> Iterator[Standin]:
    """The stand-in with a VM, and with the host's pages."""
    standin = Standin(library)
    standin.reset(PAGE)
    assert standin.create() == Code.SUCCESS
    yield standin
    standin.reset(PAGE)


@pytest.fixture
def window(standin: Standin, tmp_path: Path) -> Iterator[Window]:
    with Window(standin, tmp_path) as window:
        yield window
