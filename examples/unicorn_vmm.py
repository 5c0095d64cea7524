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

from daxmap import Access, DaxMapper, HypervisorBackend, WindowLayout, guest
from daxmap.exits import Mmio

try:
    from daxmap.unicorn import UnicornVm
except ImportError as error:
    sys.exit(str(error))  # exit code 1

RAM_SIZE = 2 << 20
SLICE = 2 << 20  # a Linux guest asks for the window in slices of this size
LENGTH = 64 << 10  # of each file: a multiple of the host's page size


class Hypervisor:
    """What daxmap calls to show host memory to the guest: see `daxmap.protocols.Hypervisor`.

    A `UnicornVm` is such an object already. This one prints what it is asked for, and asks the machine. An exception is
    an OSError with EIO for the caller that asked for the mapping.
    """

    def __init__(self, vm: UnicornVm) -> None:
        self._vm = vm

    def map(self, host_address: int, guest_address: int, length: int, access: Access) -> None:
        """Show `[host_address, +length)` of this process at `guest_address`."""
        print(f"  map {length:#x} bytes at {guest_address:#x}, {access!r}")
        self._vm.map(host_address, guest_address, length, access)

    def unmap(self, guest_address: int, length: int) -> None:
        """Take `[guest_address, +length)` from the guest: daxmap frees the memory behind it afterwards."""
        print(f"  unmap {length:#x} bytes at {guest_address:#x}")
        self._vm.unmap(guest_address, length)

    def protect(self, guest_address: int, length: int, access: Access) -> None:
        """Change what the guest may do there. A hypervisor that cannot has no such method: then it is unmap and map."""
        print(f"  protect {length:#x} bytes at {guest_address:#x}, {access!r}")
        self._vm.protect(guest_address, length, access)


def show(source: Path, target: Path) -> bool:
    """Have the guest copy `source` to `target`, then store to `source`. True if all went as it should."""
    vm = UnicornVm(RAM_SIZE)
    # The window has to be above the guest's RAM; the layout puts it there.
    share = WindowLayout(0, RAM_SIZE, [("files", 2 * SLICE)])["files"]
    # Leaving the block takes what is left in the window from the guest, while the machine still exists.
    with DaxMapper.for_share(share, HypervisorBackend(Hypervisor(vm))) as mapper:
        # The fds may be closed as soon as the mappings stand.
        with source.open("r+b") as first, target.open("r+b") as second:
            mapper.setup_mapping(first, 0, 0, LENGTH, writable=False)
            mapper.setup_mapping(second, 0, SLICE, LENGTH, writable=True)
        end = vm.run(guest.copy(share.base, share.base + SLICE, LENGTH))
        equal = target.read_bytes() == source.read_bytes()
        print(f"copy: {end}; on the host the files are {'equal' if equal else 'NOT equal'}")

        store = guest.store(share.base, int.from_bytes(b"DAX!", "little"))
        refused = vm.run(store)
        print(f"store to the read-only mapping: {refused}")
        with source.open("r+b") as file:
            mapper.setup_mapping(file, 0, 0, LENGTH, writable=True)
        end = vm.run(store)
        begin = source.read_bytes()[:4]
        print(f"store to the same range, writable now: {end}; the file begins with {begin!r}")
        return equal and isinstance(refused, Mmio) and begin == b"DAX!"


def main() -> int:
    """Return the exit code."""
    with TemporaryDirectory() as directory:
        source, target = Path(directory, "source"), Path(directory, "target")
        source.write_bytes(os.urandom(LENGTH))
        target.write_bytes(bytes(LENGTH))
        return 0 if show(source, target) else 1


if __name__ == "__main__":
    sys.exit(main())
