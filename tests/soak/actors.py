"""Who does what: a guest's requests, well-formed and not, and the host beside it, all from one seed."""

import os
import random
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from daxmap import DaxMapper
from support.fuse_client import ROOT, SLOT, Client, Op

FILES = 64
MOST_PAGES = 1024
"""Of a file."""


class Guest:
    """One guest of a `FileServer`. What fails is refused by an errno, and that is all right."""

    def __init__(self, client: Client, mapper: DaxMapper, dice: random.Random) -> None:
        self._client, self._mapper, self._dice = client, mapper, dice
        self._handles: list[tuple[int, int]] = []
        self._slots = mapper.size // SLOT
        self.refused = 0

    def act(self) -> None:
        """One of its operations."""
        try:
            self._dice.choice(_OPERATIONS)(self)
        except (OSError, MemoryError):
            self.refused += 1

    def leave(self) -> None:
        """Power off, and start again."""
        self._handles.clear()
        self._client.init()

    def _name(self) -> bytes:
        return b"%02d" % self._dice.randrange(FILES)

    @contextmanager
    def _node(self) -> Iterator[int]:
        node = self._client.lookup(self._name()).nodeid
        try:
            yield node
        finally:
            self._client.forget(node)

    def map(self) -> None:
        dice, page = self._dice, self._mapper.page_size
        length = SLOT if dice.random() < 0.5 else page * dice.randrange(1, SLOT // page)
        with self._node() as node:
            at = dice.randrange(self._slots) * SLOT
            offset = dice.randrange(4) * SLOT
            self._client.map(node, at, foffset=offset, length=length, writable=dice.random() < 0.5)

    def unmap(self) -> None:
        slots = (self._dice.randrange(self._slots) for _ in range(self._dice.randrange(1, 5)))
        self._client.unmap(*((slot * SLOT, SLOT) for slot in slots))

    def touch(self) -> None:
        address = self._dice.randrange(self._mapper.size)
        if self._dice.random() < 0.5:
            self._mapper.read(self._mapper.base + address, 1)
        else:
            self._mapper.write(self._mapper.base + address, b"!")

    def open(self) -> None:
        if len(self._handles) >= FILES:
            self._client.release(*self._handles.pop(0))
        node = self._client.lookup(self._name()).nodeid  # remembered as long as the guest lives
        self._handles.append((node, self._client.open(node, os.O_RDWR)))

    def read(self) -> None:
        if self._handles:
            node, handle = self._dice.choice(self._handles)
            self._client.read(node, handle, 4096, self._dice.randrange(1 << 20))

    def write(self) -> None:
        if self._handles:
            node, handle = self._dice.choice(self._handles)
            self._client.write(node, handle, b"written", self._dice.randrange(1 << 20))

    def look(self) -> None:
        with self._node() as node:
            self._client.getattr(node)

    def make(self) -> None:
        entry, handle = self._client.create(self._name())
        self._client.release(entry.nodeid, handle)
        self._client.forget(entry.nodeid)

    def remove(self) -> None:
        self._client.unlink(self._name())

    def rename(self) -> None:
        self._client.rename(self._name(), self._name())

    def truncate(self) -> None:
        with self._node() as node:
            self._client.setattr(node, size=self._dice.randrange(MOST_PAGES) * 4096)

    def list(self) -> None:
        handle = self._client.opendir()
        for entry in self._client.readdir(ROOT, handle, plus=True):
            if entry.entry is not None and entry.name not in {b".", b".."}:
                self._client.forget(entry.entry.nodeid)
        self._client.release(ROOT, handle, Op.RELEASEDIR)

    def babble(self) -> None:
        """A message that means nothing, or too much."""
        request = bytearray(self._client.request(self._dice.randrange(60), self._dice.randrange(100), bytes(64)))
        for _ in range(self._dice.randrange(4)):
            request[self._dice.randrange(len(request))] = self._dice.randrange(256)
        self._client.server.answer(bytes(request[: self._dice.randrange(len(request) + 1)]))


# Well-formed requests are more often what a guest sends most: mappings, and looks at files.
_OPERATIONS: list[Callable[[Guest], None]] = [
    *[Guest.map] * 12,
    *[Guest.unmap] * 8,
    *[Guest.touch] * 4,
    *[Guest.look] * 4,
    *[Guest.read, Guest.write] * 3,
    *[Guest.open, Guest.make, Guest.remove, Guest.rename, Guest.truncate, Guest.list, Guest.babble],
]


class Host:
    """The other user of the directory, and a system that has too little of everything for a while."""

    def __init__(self, directory: Path, dice: random.Random) -> None:
        self._directory, self._dice = directory, dice

    def act(self) -> None:
        """Change a file."""
        path = self._directory / f"{self._dice.randrange(FILES):02}"
        with suppress(FileNotFoundError):
            match self._dice.randrange(3):
                case 0:
                    os.truncate(path, self._dice.randrange(MOST_PAGES) * 4096)
                case 1:
                    path.rename(self._directory / f"{self._dice.randrange(FILES):02}")
                case _:
                    path.unlink()
                    path.write_bytes(b"anew")

    @contextmanager
    def short(self) -> Iterator[None]:
        """No new descriptors, or no more addresses."""
        kind = self._dice.choice([resource.RLIMIT_NOFILE, resource.RLIMIT_AS])
        soft, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (3 if kind == resource.RLIMIT_NOFILE else 1 << 20, hard))
        try:
            yield
        finally:
            resource.setrlimit(kind, (soft, hard))
