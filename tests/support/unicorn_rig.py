"""A guest whose CPU unicorn emulates. Without unicorn, the import of this module is an ImportError."""

from daxmap import Access, DaxMapper, guest
from daxmap.exits import Halted, Mmio
from daxmap.guest import Program
from daxmap.unicorn import UnicornVm
from support.host import peek
from support.hypervisor_rig import HypervisorRig
from support.recording import ProtectingHypervisor
from support.rig import FIRST_BASE, WORD, Subject

Region = tuple[int, int, int]
"""First and last guest physical address, and access."""


class Machine(UnicornVm):
    """A virtual machine that tells what memory it has."""

    def regions(self) -> list[Region]:
        return sorted(self._uc.mem_regions())


class EmulatedHypervisor(ProtectingHypervisor):
    """Does with a virtual machine what it writes down."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = Machine(FIRST_BASE)  # all below the windows is RAM
        self.ram = self.machine.regions()

    def map(self, host_address: int, guest_address: int, length: int, access: Access) -> int | None:
        self.machine.map(host_address, guest_address, length, access)
        return super().map(host_address, guest_address, length, access)

    def unmap(self, guest_address: int, length: int) -> int | None:
        self.machine.unmap(guest_address, length)
        return super().unmap(guest_address, length)

    def protect(self, guest_address: int, length: int, access: Access) -> int | None:
        self.machine.protect(guest_address, length, access)
        return super().protect(guest_address, length, access)

    def check_machine(self) -> None:
        """Check that the guest has what was written down, and nothing else."""
        book = [(start, start + given.length - 1, int(given.access)) for start, given in self.book.items()]
        assert self.machine.regions() == self.ram + sorted(book)


class UnicornRig(HypervisorRig):
    """A virtual machine in this process, whose emulated CPU loads and stores."""

    hypervisor_type = EmulatedHypervisor
    hypervisor: EmulatedHypervisor

    def check_host(self, subject: Subject) -> None:
        super().check_host(subject)
        self.hypervisor.check_machine()

    def load(self, mapper: DaxMapper, offset: int) -> int | None:
        values = self._run(mapper, offset, guest.load(mapper.base + offset))
        return None if values is None else values[0]

    def store(self, mapper: DaxMapper, offset: int, value: int) -> bool:
        return self._run(mapper, offset, guest.store(mapper.base + offset, value)) is not None

    def _run(self, mapper: DaxMapper, offset: int, program: Program) -> tuple[int, ...] | None:
        """What a program reports that accesses one word, or None where it was stopped at the access.

        Memory past the end of its file is not accessed: that would be a signal for this process.
        """
        found = self.given(mapper, offset, WORD)
        if found is not None and peek(found[1], WORD) is None:
            return None
        end = self.hypervisor.machine.run(program)
        if isinstance(end, Mmio):
            assert end.address == mapper.base + offset
            return None
        assert isinstance(end, Halted), end
        return end.values
