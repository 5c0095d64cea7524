"""Mappers over a host window, where one kind of backend is enough."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.rig import Subject
from support.rigs import HostWindowRig


@pytest.fixture
def plain_rig(tmp_path: Path) -> Iterator[HostWindowRig]:
    with HostWindowRig(tmp_path) as rig:
        yield rig


@pytest.fixture
def plain_subject(plain_rig: HostWindowRig) -> Subject:
    """A mapper for calls that never reach a backend, and that leave its two mappings as they are."""
    subject = plain_rig.open()
    subject.occupy()
    return subject
