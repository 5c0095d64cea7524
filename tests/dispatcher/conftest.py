"""A mapper for the requests of a guest."""

from collections.abc import Iterator

import pytest

from daxmap import DaxMapper
from support.guest_requests import SLOT
from support.windows import host_window


@pytest.fixture
def mapper() -> Iterator[DaxMapper]:
    """Of eight slots."""
    with host_window(0, 8 * SLOT) as mapper:
        yield mapper
