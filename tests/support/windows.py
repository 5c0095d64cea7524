"""Windows that no guest is behind."""

from collections.abc import Iterator
from contextlib import contextmanager

from daxmap import DaxMapper, HostWindowBackend


@contextmanager
def host_window(base: int, size: int) -> Iterator[DaxMapper]:
    """A mapper over a host window, which is drained and released in the end."""
    backend = HostWindowBackend()
    with DaxMapper(base, size, backend) as mapper:
        yield mapper
    backend.release()
