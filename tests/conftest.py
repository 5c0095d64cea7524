"""Fixtures that the tests of the mapper share."""

import gc
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

pytest.register_assert_rewrite("support", "hvf")

from support.libraries import build_library  # noqa: E402
from support.paths import TESTS  # noqa: E402
from support.rig import Rig, Subject  # noqa: E402
from support.rigs import RIGS, WINDOW_RIGS, HostWindowRig  # noqa: E402

SUPPORT = TESTS / "support"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--wheel", type=Path, help="what tests/package examines, in place of a wheel that it builds")


def pytest_collection_finish() -> None:
    """Have collections of garbage pass over what is there for good: tests make hundreds of them, callbacks too."""
    gc.collect()
    gc.freeze()


def open_rig(name: str, directory: Path) -> Rig:
    try:
        return RIGS[name](directory)
    except OSError as error:
        pytest.skip(f"{name} cannot be used: {error}")


@pytest.fixture(params=RIGS)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """A guest behind each backend."""
    with open_rig(request.param, tmp_path) as rig:
        yield rig


@pytest.fixture(params=WINDOW_RIGS)
def window_rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HostWindowRig]:
    """A guest behind each backend whose window is one range of host addresses."""
    with open_rig(request.param, tmp_path) as rig:
        assert isinstance(rig, HostWindowRig)
        yield rig


@pytest.fixture(params=WINDOW_RIGS)
def window_backend(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The name of each such backend, for a rig in another process."""
    name: str = request.param
    open_rig(name, tmp_path).close()
    return name


@pytest.fixture
def subject(rig: Rig) -> Subject:
    """A mapper of each backend, over an empty window."""
    return rig.open()


@pytest.fixture
def needs_copies(rig: Rig) -> None:
    """Skips where the mapper itself cannot copy in and out of the window."""
    if not rig.can_copy:
        pytest.skip("the VMM maps by itself: read and write are ENOTSUP")


@pytest.fixture
def needs_kvm(tmp_path: Path) -> None:
    """Skips where no virtual machine can be had."""
    open_rig("kvm", tmp_path).close()


@pytest.fixture(scope="session")
def compile_c(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes a shared library of a C file in tests/support."""
    return cache(lambda name: build_library(tmp_path_factory.mktemp("lib"), SUPPORT / f"{name}.c"))


@pytest.fixture(scope="session")
def fault_library(compile_c: Callable[[str], Path]) -> Path:
    """To be preloaded into a process whose system calls should fail."""
    return compile_c("faults")
