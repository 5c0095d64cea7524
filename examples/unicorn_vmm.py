"""A virtual machine monitor over the emulator unicorn: its guest copies one host file into another, by load and store.

    pip install 'daxmap[demo]'
    python examples/unicorn_vmm.py

Exits with 0 if all went as it should, else with 1. Any other hypervisor that can be called from Python plugs into
daxmap in the same way: see `Hypervisor` below.
"""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

try:
    from unicorn import UC_ARCH_X86, UC_MODE_32, Uc, UcError
except ImportError as error:
    sys.exit(f"{error}: pip install 'daxmap[demo]'")  # exit code 1

from daxmap import Access, DaxMapper, HypervisorBackend, WindowLayout
from daxmap.demo import guest  # machine code for flat 32-bit protected mode; every program ends with HLT

RAM_SIZE = 2 << 20
ENTRY = 0x1000  # where in RAM a program is put
NOWHERE = 1 << 32  # where unicorn is to stop, if HLT does not stop it before
SLICE = 2 << 20  # a Linux guest asks for the window in slices of this size
LENGTH = 64 << 10  # of each file: a multiple of the host's page size


class Hypervisor:
    """What daxmap calls to show host memory to the guest: see `daxmap.protocols.Hypervisor`.

    unicorn's own exception, where it refuses, becomes an OSError with EIO for the caller that asked for the mapping.
    """

    def __init__(self, cpu: Uc) -> None:
        self._cpu = cpu

    def map(self, host_address: int, guest_address: int, length: int, access: Access) -> None:
        """Show `[host_address, +length)` of this process at `guest_address`."""
        print(f"  map {length:#x} bytes at {guest_address:#x}, {access!r}")
        self._cpu.mem_map_ptr(guest_address, length, access, host_address)  # the bits of UC_PROT are those of Access

    def unmap(self, guest_address: int, length: int) -> None:
        """Take `[guest_address, +length)` from the guest: daxmap frees the memory behind it afterwards."""
        print(f"  unmap {length:#x} bytes at {guest_address:#x}")
        self._cpu.mem_unmap(guest_address, length)

    def protect(self, guest_address: int, length: int, access: Access) -> None:
        """Change what the guest may do there. A hypervisor that cannot has no such method: then it is unmap and map."""
        print(f"  protect {length:#x} bytes at {guest_address:#x}, {access!r}")
        self._cpu.mem_protect(guest_address, length, access)


def run(cpu: Uc, program: bytes) -> str:
    """Run a program and say how it ended: "halted", or what stopped it."""
    cpu.mem_write(ENTRY, program)
    cpu.ctl_remove_cache(ENTRY, ENTRY + len(program))  # else the program before it would run again
    try:
        cpu.emu_start(ENTRY, NOWHERE)
    except UcError as error:
        return f"stopped: {error}"
    return "halted"


def show(source: Path, target: Path) -> bool:
    """Have the guest copy `source` to `target`, then store to `source`. True if all went as it should."""
    cpu = Uc(UC_ARCH_X86, UC_MODE_32)
    cpu.mem_map(0, RAM_SIZE)
    # The window has to be above the guest's RAM; the layout puts it there.
    share = WindowLayout(0, RAM_SIZE, [("files", 2 * SLICE)]).shares["files"]
    # Leaving the block takes what is left in the window from the guest, while the machine still exists.
    with DaxMapper.for_share(share, HypervisorBackend(Hypervisor(cpu))) as mapper:
        # The fds may be closed as soon as the mappings stand.
        with source.open("r+b") as first, target.open("r+b") as second:
            mapper.setup_mapping(first, 0, 0, LENGTH, writable=False)
            mapper.setup_mapping(second, 0, SLICE, LENGTH, writable=True)
        end = run(cpu, guest.copy(share.base, share.base + SLICE, LENGTH))
        equal = target.read_bytes() == source.read_bytes()
        print(f"copy: the guest {end}; on the host the files are {'equal' if equal else 'NOT equal'}")

        store = guest.store(share.base, int.from_bytes(b"DAX!", "little"))
        refused = run(cpu, store)
        print(f"store to the read-only mapping: the guest {refused}")
        with source.open("r+b") as file:
            mapper.setup_mapping(file, 0, 0, LENGTH, writable=True)
        end = run(cpu, store)
        begin = source.read_bytes()[:4]
        print(f"store to the same range, writable now: the guest {end}; the file begins with {begin!r}")
        return equal and refused.startswith("stopped") and begin == b"DAX!"


def main() -> int:
    """Return the exit code."""
    with TemporaryDirectory() as directory:
        source, target = Path(directory, "source"), Path(directory, "target")
        source.write_bytes(os.urandom(LENGTH))
        target.write_bytes(bytes(LENGTH))
        return 0 if show(source, target) else 1


if __name__ == "__main__":
    sys.exit(main())
