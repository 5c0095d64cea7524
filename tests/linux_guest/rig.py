"""What a check gets: a guest, and the folders that it shares with the host."""

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from linux_guest.guest import Guest
from linux_guest.server import Server

MIB = 1 << 20
RANGE = 2 * MIB
"""What the guest's kernel maps at once."""


@dataclass(frozen=True)
class Share:
    """A folder of the host, and where the guest has it."""

    host: Path
    mount_point: str
    options: str
    window: int
    server: Server

    def path(self, name: str) -> str:
        """A name in the guest."""
        return f"{self.mount_point}/{name}"

    def fill(self, name: str, length: int) -> bytes:
        """A file of random bytes, made on the host: what the guest should see of it."""
        content = random.Random(name).randbytes(length)  # noqa: S311
        (self.host / name).write_bytes(content)
        return content

    def count(self, name: str) -> int:
        """A counter of the server."""
        return self.server.status().count(name)


@dataclass(frozen=True)
class Rig:
    """All of it."""

    guest: Guest
    always: Share
    inode: Share


Check = Callable[[Rig], None]


class Checks(list[Check]):
    """Checks of a module: a decorator that collects them."""

    def __call__(self, check: Check) -> Check:
        self.append(check)
        return check


class NotHereError(Exception):
    """A check says why it has no answer on this host."""


def need_root() -> None:
    """End a check of other users' files where the server may not make them."""
    if os.geteuid() != 0:
        raise NotHereError("the server is not run by root")


@contextmanager
def fails(errno: int) -> Iterator[None]:
    """A system call of the guest has to fail so."""
    found = 0
    try:
        yield
    except OSError as error:
        found = error.errno or -1
    same(os.strerror(found), os.strerror(errno), "what a system call ends with")


def same(found: object, expected: object, what: str) -> None:
    """Both are equal, or the message has them."""
    assert found == expected, f"{what}: {found!r}, not {expected!r}"


def same_bytes(found: bytes, expected: bytes | bytearray, what: str) -> None:
    """Both are equal, or the message tells where they begin to differ."""
    if found != expected:
        at = next(
            (i for i, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b), min(len(found), len(expected))
        )
        raise AssertionError(
            f"{what}: from byte {at} of {len(expected)} on {found[at : at + 8].hex(' ')}, "
            f"not {expected[at : at + 8].hex(' ')} ({len(found)} bytes)"
        )
