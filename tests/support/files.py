"""Host files to map."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path

from support.host import PAGE


class HostFile:
    """A file of random bytes, none of them 0.

    Its `fd` is open for reading and writing, and is what a test maps it with. The content is read and written with it
    too, never through a mapping.
    """

    def __init__(self, path: Path, pages: int) -> None:
        self.path = path
        self.fd = self._own_fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC)
        self.write(0, os.urandom(pages * PAGE).replace(b"\0", b"\1"))
        status = os.fstat(self.fd)
        self.device, self.inode = status.st_dev, status.st_ino

    def write(self, offset: int, data: bytes) -> None:
        assert os.pwrite(self._own_fd, data, offset) == len(data)

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self._own_fd, length, offset)

    def shown(self, offset: int, length: int) -> bytes:
        """What a mapping of the range can be read for: up to the end of the file's last page."""
        data = self.read(offset, length)
        return data + bytes(-len(data) % PAGE)

    @contextmanager
    def opened(self, flags: int) -> Iterator["HostFile"]:
        """The same file, to be mapped with a descriptor that is open only in the block."""
        same = copy(self)
        same.fd = os.open(self.path, flags | os.O_CLOEXEC)
        try:
            yield same
        finally:
            os.close(same.fd)

    def close(self) -> None:
        os.close(self._own_fd)
