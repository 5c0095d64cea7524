"""What the demo needs of a guest, and the kinds of guest that there are."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import EACCES, EFAULT
from typing import Protocol

from daxmap import DaxMapper, guest
from daxmap.exits import Exit, Fault, Halted, Mmio


class GuestError(Exception):
    """The guest's program did not run to its end."""


class AccessRefusedError(GuestError):
    """The guest touched an address that does not allow it, and was stopped there."""


class Guest(Protocol):
    """Something that loads from and stores to guest physical addresses; one thread at a time.

    Each method raises AccessRefusedError when an address does not allow the access, and GuestError when the
    guest fails in another way.
    """

    kind: str
    """One word, for machines."""
    about: str
    """What it is, in a phrase."""
    method: str
    """How it copies, in a sentence."""
    mapper: DaxMapper
    """The mapper of its DAX window."""

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy `length` bytes, a positive multiple of 4, from address `source` to address `target`."""

    def load(self, address: int) -> int:
        """Return the 32-bit little-endian word at `address`."""

    def store(self, address: int, value: int) -> None:
        """Store the 32-bit `value` at `address`."""


class CpuGuest:
    """Machine code on a CPU: one that KVM or unicorn runs."""

    method = "The guest runs a loop around two instructions of its CPU: a load and a store."

    def __init__(self, kind: str, about: str, run: Callable[[guest.Program], Exit], mapper: DaxMapper) -> None:
        self.kind = kind
        self.about = about
        self.mapper = mapper
        self._run_program = run

    def copy(self, source: int, target: int, length: int) -> None:
        """See `Guest.copy`."""
        self._run(guest.copy(source, target, length))

    def load(self, address: int) -> int:
        """See `Guest.load`."""
        (value,) = self._run(guest.load(address))
        return value

    def store(self, address: int, value: int) -> None:
        """See `Guest.store`."""
        self._run(guest.store(address, value))

    def _run(self, program: guest.Program) -> tuple[int, ...]:
        end = self._run_program(program)
        if isinstance(end, Halted):
            return end.values
        if isinstance(end, Mmio | Fault):
            raise AccessRefusedError(str(end))
        raise GuestError(str(end))


class HostGuest:
    """No guest: the host reads and writes the window through the mapper, as a VMM's own devices do."""

    kind = "none"
    about = "none, the host stands in for it"
    method = "No guest CPU here: the host reads and writes the same addresses through the window."

    def __init__(self, mapper: DaxMapper) -> None:
        self.mapper = mapper

    def copy(self, source: int, target: int, length: int) -> None:
        """See `Guest.copy`."""
        self._write(target, self._read(source, length))

    def load(self, address: int) -> int:
        """See `Guest.load`."""
        return int.from_bytes(self._read(address, guest.WORD), "little")

    def store(self, address: int, value: int) -> None:
        """See `Guest.store`."""
        self._write(address, value.to_bytes(guest.WORD, "little"))

    def _read(self, address: int, length: int) -> bytes:
        with _refusals():
            return self.mapper.read(address, length)

    def _write(self, address: int, data: bytes) -> None:
        with _refusals():
            self.mapper.write(address, data)


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn the mapper's own refusals of an address into AccessRefusedError."""
    try:
        yield
    except OSError as error:
        if error.errno in (EACCES, EFAULT):
            raise AccessRefusedError(str(error)) from error
        raise
