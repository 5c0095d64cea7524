"""A virtual machine monitor on /dev/kvm: its guest copies one host file into another, then touches what it may not.

    python examples/kvm_vmm.py

For x86-64 and aarch64. Exits with 0 if all went as it should, else with 1. The machine is `daxmap.kvm.Vm`: RAM and one
CPU.
"""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from daxmap import DaxMapper, KvmBackend, WindowLayout, guest
from daxmap.exits import Fault, Mmio
from daxmap.kvm import DEVICE, Vm

RAM_SIZE = 2 << 20
WINDOW_SLOT = 1  # memory slot of the virtual machine: any that it does not use
SLICE = 2 << 20  # a Linux guest asks for the window in slices of this size
LENGTH = 64 << 10  # of each file: a multiple of the host's page size


def show(vm: Vm, source: Path, target: Path) -> bool:
    """Have the guest copy `source` to `target`, and then touch what it may not. True if all went as it should."""
    # The window has to be above the guest's RAM; the layout puts it there.
    share = WindowLayout(0, RAM_SIZE, [("files", 2 * SLICE)])["files"]
    # Leaving the block takes the window from the guest, while the machine still exists.
    with DaxMapper.for_share(share, KvmBackend(vm.fd, WINDOW_SLOT)) as mapper:
        # The fds may be closed as soon as the mappings stand.
        with source.open("rb") as readable, target.open("r+b") as writable:
            mapper.setup_mapping(readable, 0, 0, LENGTH, writable=False)
            mapper.setup_mapping(writable, 0, SLICE, LENGTH, writable=True)
        for info in mapper:
            print(f"{info.length} bytes of inode {info.ino} at {share.base + info.window_offset:#x}")
        end = vm.run(guest.copy(share.base, share.base + SLICE, LENGTH))
        equal = target.read_bytes() == source.read_bytes()
        print(f"copy: {end}; on the host the files are {'equal' if equal else 'NOT equal'}")

        mapper.remove_mapping(SLICE, LENGTH)
        refused = [
            touch(vm, mapper, "load", guest.load(share.base + SLICE), share.base + SLICE),
            touch(vm, mapper, "store", guest.store(share.base, 0), share.base),
        ]
        return equal and all(refused)


def touch(vm: Vm, mapper: DaxMapper, name: str, program: guest.Program, address: int) -> bool:
    """Run a program that touches `address`, and say why that was refused. False if it was not."""
    end = vm.run(program)
    print(f"{name}: {end}")
    if not isinstance(end, Mmio | Fault):
        return False
    # Where the CPU itself refuses, KVM mostly tells no address; this program has only the one.
    print(f"  {mapper.explain(address if end.address is None else end.address)}")
    return True


def main(device: str = DEVICE) -> int:
    """Return the exit code."""
    with TemporaryDirectory() as directory:
        source, target = Path(directory, "source"), Path(directory, "target")
        source.write_bytes(os.urandom(LENGTH))
        target.write_bytes(bytes(LENGTH))
        try:
            with Vm(RAM_SIZE, device=device) as vm:
                return 0 if show(vm, source, target) else 1
        except OSError as error:
            print(error, file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main())
