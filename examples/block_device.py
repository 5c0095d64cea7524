"""A device of the VMM whose buffer lies in the DAX window: a disk is read straight into a file of the host.

    python examples/block_device.py

Guests do that: a program maps a file of a DAX share, and has the kernel read from a disk into it, so the address in the
virtqueue is one of the window. A VMM that knows only its RAM would fail there, or copy twice. Here the guest's request
is just two numbers; `read_into` is the device's part of it. Needs KVM, on x86-64 or aarch64.

Exits with 0 if the guest finds the disk's bytes in the window, and the host in the file, else with 1.
"""

import ctypes
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from daxmap import DaxMapper, KvmBackend, WindowLayout, guest
from daxmap.exits import Halted
from daxmap.kvm import Vm

RAM_SIZE = 2 << 20
SECTOR = 512


def read_into(mapper: DaxMapper, guest_address: int, length: int, disk: int, disk_offset: int) -> int:
    """Read from a disk into a guest's buffer, without a copy of the VMM's own. Returns how many bytes there were.

    Raises:
        OSError: EFAULT, EACCES: the guest's buffer is no memory, or none that it may write: its request has failed.
    """
    # While the block runs, the guest can't give this range to another file: its request for that is told EBUSY.
    with mapper.resolve(guest_address, length, writable=True) as pieces:
        buffers = [(ctypes.c_char * size).from_address(address) for address, size in pieces]
        return os.preadv(disk, buffers, disk_offset)  # by system call: a page that is not there is EFAULT, no signal


def show(vm: Vm, disk: Path, target: Path) -> bool:
    """Have a disk's sector read into the guest's buffer. True if all went as it should."""
    share = WindowLayout(0, RAM_SIZE, {"files": "4MiB"})["files"]
    with DaxMapper.for_share(share, KvmBackend(vm.fd, 1)) as mapper:
        with target.open("r+b") as file:
            mapper.map_file(file, writable=True)
        buffer = share.base + SECTOR
        with disk.open("rb") as image:
            count = read_into(mapper, buffer, SECTOR, image.fileno(), 3 * SECTOR)
            wanted = os.pread(image.fileno(), SECTOR, 3 * SECTOR)
            try:
                read_into(mapper, share.end - SECTOR, SECTOR, image.fileno(), 0)
            except OSError as error:
                print(f"a buffer in a hole: {error}")
        end = vm.run(guest.load(buffer))
        print(f"{count} bytes were read from the disk; the guest loads the first word of its buffer: {end}")
        seen = isinstance(end, Halted) and end.values == (int.from_bytes(wanted[:4], "little"),)
        return seen and target.read_bytes()[SECTOR : 2 * SECTOR] == wanted


def main() -> int:
    """Return the exit code."""
    with TemporaryDirectory() as directory:
        disk, target = Path(directory, "disk"), Path(directory, "target")
        disk.write_bytes(os.urandom(8 * SECTOR))
        target.write_bytes(bytes(64 << 10))
        try:
            with Vm(RAM_SIZE) as vm:
                return 0 if show(vm, disk, target) else 1
        except OSError as error:
            print(error, file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main())
