"""A hypervisor or backend that is a Python object, a mapper over it, and a file to map."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from daxmap import DaxMapper
from support.files import HostFile
from support.recording import RECORDERS, AnyRecorder


def name_of(kind: type[AnyRecorder]) -> str:
    return kind.__name__


@pytest.fixture(params=RECORDERS, ids=name_of)
def recorder(request: pytest.FixtureRequest) -> AnyRecorder:
    recorder: AnyRecorder = request.param()
    return recorder


@pytest.fixture(params=RECORDERS, ids=name_of)
def kind(request: pytest.FixtureRequest) -> type[AnyRecorder]:
    """The class, for tests that make the object themselves: a fixture holds on to its value."""
    kind: type[AnyRecorder] = request.param
    return kind


@pytest.fixture
def mapper(recorder: AnyRecorder) -> Iterator[DaxMapper]:
    with recorder.mapper() as mapper:
        yield mapper


@pytest.fixture
def file(tmp_path: Path) -> Iterator[HostFile]:
    file = HostFile(tmp_path / "file", 4)
    yield file
    file.close()
