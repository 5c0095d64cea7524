"""How a guest's program can end, whatever runs it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Halted:
    """The program ran to its HLT. `values` are the 32-bit words that it wrote to `guest.REPORT_PORT`, in order."""

    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Mmio:
    """The guest touched `address`, and no memory there allows it: it is for the VMM to answer, as for a device."""

    address: int
    is_write: bool

    def __str__(self) -> str:
        """Name the exit and the access."""
        return f"an MMIO exit, for a {'store to' if self.is_write else 'load from'} {self.address:#x}"


@dataclass(frozen=True, slots=True)
class Fault:
    """The guest touched memory that does not allow it, at an address that nobody tells."""

    def __str__(self) -> str:
        """Name the exit."""
        return "EFAULT, for an access that the memory does not allow"


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
