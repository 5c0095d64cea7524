"""What the demo needs of a guest, and the guests that there are."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from errno import EACCES, EFAULT
from typing import Protocol

from daxmap import DaxMapper, HostWindowBackend, KvmBackend
from daxmap.demo import guest
from daxmap.demo.kvm import DEVICE, Fault, Halted, Mmio, Vm
from daxmap.layout import Share

_WINDOW_SLOT = 1


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


class KvmGuest:
    """Machine code on a KVM virtual CPU; the window is a memslot of its virtual machine."""

    kind = "kvm"
    about = "a KVM virtual machine with one CPU, in 32-bit mode"
    method = "The guest runs a loop around two instructions: mov eax, [esi] and mov [edi], eax."

    def __init__(self, vm: Vm, mapper: DaxMapper) -> None:
        self._vm = vm
        self.mapper = mapper

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

    def _run(self, program: bytes) -> tuple[int, ...]:
        end = self._vm.run(program)
        if isinstance(end, Halted):
            return end.values
        if isinstance(end, Mmio | Fault):
            raise AccessRefusedError(str(end))
        raise GuestError(str(end))


class HostGuest:
    """No guest: the host reads and writes the window through the mapper, as a VMM's own devices do."""

    kind = "none"
    method = "No guest CPU here: the host reads and writes the same addresses through the window."

    def __init__(self, mapper: DaxMapper, about: str) -> None:
        self.mapper = mapper
        self.about = about

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
def open_guest(share: Share, ram_size: int, *, device: str = DEVICE) -> Iterator[Guest]:
    """Open the best guest there is, with a mapper over `share`'s slice of the DAX window.

    That is a KVM guest with `ram_size` bytes of RAM; without KVM it is `HostGuest`, which says why. On
    leaving, the mapper is drained first, while the virtual machine still exists.
    """
    with ExitStack() as stack:
        try:
            vm = stack.enter_context(Vm(ram_size, device=device))
        except OSError as error:
            backend = HostWindowBackend()
            stack.callback(backend.release)
            mapper = stack.enter_context(DaxMapper(share.base, share.size, backend))
            yield HostGuest(mapper, f"none, the host stands in for it, since KVM cannot be used: {error}")
        else:
            kvm_backend = KvmBackend(vm.fd, _WINDOW_SLOT)
            yield KvmGuest(vm, stack.enter_context(DaxMapper(share.base, share.size, kvm_backend)))


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn the mapper's own refusals of an address into AccessRefusedError."""
    try:
        yield
    except OSError as error:
        if error.errno in (EACCES, EFAULT):
            raise AccessRefusedError(str(error)) from error
        raise
