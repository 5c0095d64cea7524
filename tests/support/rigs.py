"""Backends under test: how to open a window on each, and how to see what its guest sees.

A backend more is a class more, and an entry in `RIGS`: the contract tests then run over it too.
"""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import TracebackType

import pytest

from daxmap import DaxMapper, HostWindowBackend, KvmBackend, guest
from daxmap.exits import Exit, Fault, Halted, Mmio
from daxmap.guest import Program
from daxmap.kvm import Vm
from hvf.rig import HvfRig
from support.host import Piece, peek, poke, shown_in
from support.hypervisor_rig import HypervisorRig, ProtectingHypervisorRig
from support.python_backend_rig import PythonBackendRig
from support.rig import FIRST_BASE, WORD, Rig, Subject


class HostWindowRig(Rig):
    """A host window in no memslot: the kernel's copies, which check what a load checks, stand for the guest."""

    def attach(self, base: int, size: int, *, readonly: bool, max_mappings: int | None) -> Subject:
        backend = HostWindowBackend()
        mapper = DaxMapper(base, size, backend, readonly=readonly, max_mappings=max_mappings)
        return Subject(self, mapper, backend.release)

    def check_host(self, subject: Subject) -> None:
        start = address_of(subject.mapper)
        end = start + subject.mapper.size
        assert shown_in(start, end) == expected_in(subject)
        windows = [(address_of(s.mapper), address_of(s.mapper) + s.mapper.size) for s in self.subjects]
        for vma in self.mapped():
            assert any(low <= vma.start and vma.end <= high for low, high in windows), vma

    def peek(self, mapper: DaxMapper, offset: int, length: int) -> bytes | None:
        return peek(address_of(mapper) + offset, length)

    def load(self, mapper: DaxMapper, offset: int) -> int | None:
        data = self.peek(mapper, offset, WORD)
        return None if data is None else int.from_bytes(data, "little")

    def store(self, mapper: DaxMapper, offset: int, value: int) -> bool:
        return poke(address_of(mapper) + offset, value.to_bytes(WORD, "little"))


class KvmRig(HostWindowRig):
    """A memslot of a real virtual machine, whose CPU loads and stores."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.vm = Vm(FIRST_BASE)  # all below the windows is RAM
        self._slots = count(1)

    def close(self) -> None:
        with self.vm:
            super().close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self.vm:
            super().__exit__(kind, error, trace)

    def attach(self, base: int, size: int, *, readonly: bool, max_mappings: int | None) -> Subject:
        backend = KvmBackend(self.vm.fd, next(self._slots))
        mapper = DaxMapper(base, size, backend, readonly=readonly, max_mappings=max_mappings)
        return Subject(self, mapper, lambda: None)

    def check_host(self, subject: Subject) -> None:
        if not subject.mapper.closed:  # the addresses are freed with the drain, and may be anybody's
            super().check_host(subject)

    def load(self, mapper: DaxMapper, offset: int) -> int | None:
        values = self._run(guest.load(mapper.base + offset))
        return None if values is None else values[0]

    def store(self, mapper: DaxMapper, offset: int, value: int) -> bool:
        return self._run(guest.store(mapper.base + offset, value)) is not None

    def _run(self, program: Program) -> tuple[int, ...] | None:
        """What a program reports, or None where it was stopped at an access."""
        end: Exit = self.vm.run(program)
        if isinstance(end, Fault | Mmio):
            return None
        assert isinstance(end, Halted), end
        return end.values


def unicorn_rig(directory: Path) -> Rig:
    """A guest that unicorn emulates. The test is skipped where unicorn is not installed."""
    pytest.importorskip("unicorn", reason="unicorn is not installed", exc_type=ImportError)
    from support.unicorn_rig import UnicornRig  # noqa: PLC0415

    return UnicornRig(directory)


WINDOW_RIGS: dict[str, Callable[[Path], HostWindowRig]] = {"host-window": HostWindowRig, "kvm": KvmRig}
"""Those whose window is one range of host addresses."""
RIGS: dict[str, Callable[[Path], Rig]] = {
    **WINDOW_RIGS,
    "hypervisor": ProtectingHypervisorRig,
    "hypervisor-without-protect": HypervisorRig,
    "unicorn": unicorn_rig,
    "hvf": HvfRig,
    "python-backend": PythonBackendRig,
}


def address_of(mapper: DaxMapper) -> int:
    """Where the window lies in this process."""
    address = mapper.host_address
    assert address is not None
    return address


def expected_in(subject: Subject) -> list[Piece]:
    """What the host addresses of a window show, by its model."""
    return subject.pieces(address_of(subject.mapper))
