"""How a guest's program can end, whatever runs it: `daxmap.kvm.Vm` or `daxmap.unicorn.UnicornVm`."""

from dataclasses import dataclass

__all__ = ["Exit", "Fault", "Halted", "Mmio", "Stopped"]


@dataclass(frozen=True, slots=True)
class Halted:
    """The program came to its end."""

    values: tuple[int, ...]
    """The 32-bit words that it reported, in order."""

    def __str__(self) -> str:
        """Name the exit, and what was reported."""
        return "halted" + "".join(f", reported {value:#x}" for value in self.values)


@dataclass(frozen=True, slots=True)
class Mmio:
    """The guest touched `address`, and no memory there allows it: it is for the VMM to answer, as for a device."""

    address: int
    """Guest physical address of the first byte."""
    is_write: bool

    def __str__(self) -> str:
        """Name the exit and the access."""
        return f"an MMIO exit, for a {'store to' if self.is_write else 'load from'} {self.address:#x}"


@dataclass(frozen=True, slots=True)
class Fault:
    """The guest touched memory that does not allow it: KVM_RUN said EFAULT."""

    address: int | None = None
    """Guest physical address of the page, or None where KVM does not tell it.

    It tells by KVM_EXIT_MEMORY_FAULT (Documentation/virt/kvm/api.rst), which Linux 6.8 brought, and so far for memory
    of guest_memfd only: expect None for a DAX window.
    """

    def __str__(self) -> str:
        """Name the exit, and the page if it is known."""
        where = "" if self.address is None else f", in the page at {self.address:#x}"
        return f"EFAULT, for an access that the memory does not allow{where}"


@dataclass(frozen=True, slots=True)
class Stopped:
    """The guest cannot go on: an exception that nobody handles, an instruction or a port that nobody knows."""

    reason: str
    """What the hypervisor calls it."""

    def __str__(self) -> str:
        """Name the exit."""
        return self.reason


Exit = Halted | Mmio | Fault | Stopped
"""How a program ended. `Mmio` and `Fault` say the same: the guest touched something that it may not."""
