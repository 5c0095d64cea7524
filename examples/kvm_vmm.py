"""A virtual machine monitor on /dev/kvm: its guest copies one host file into another, by load and store alone.

    python examples/kvm_vmm.py

For x86-64. Exits with 0 if all went as it should, else with 1. The numbers are those of include/uapi/linux/kvm.h; what
the calls do is in Documentation/virt/kvm/api.rst. daxmap's part is in `show`.
"""

import ctypes
import errno
import fcntl
import mmap
import os
import platform
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from daxmap import DaxMapper, KvmBackend, WindowLayout
from daxmap.demo import guest  # machine code for flat 32-bit protected mode; every program ends with HLT

KVM_CREATE_VM, KVM_GET_VCPU_MMAP_SIZE = 0xAE01, 0xAE04
KVM_CREATE_VCPU, KVM_SET_USER_MEMORY_REGION = 0xAE41, 0x4020AE46
KVM_RUN, KVM_SET_REGS, KVM_GET_SREGS, KVM_SET_SREGS = 0xAE80, 0x4090AE82, 0x8138AE83, 0x4138AE84
KVM_EXIT_HLT, KVM_EXIT_MMIO = 5, 6

RAM_SLOT, WINDOW_SLOT = 0, 1  # memory slots of the virtual machine: the numbers are the VMM's to choose
RAM_SIZE = 2 << 20
ENTRY = 0x1000  # where in RAM a program is put
SLICE = 2 << 20  # a Linux guest asks for the window in slices of this size
LENGTH = 64 << 10  # of each file: a multiple of the host's page size

# struct kvm_segment: base, limit, selector, type, present, dpl, db, s, l, g, avl, unusable, padding.
CODE = struct.pack("<QIH10B", 0, 0xFFFF_FFFF, 0x08, 0b1011, 1, 0, 1, 1, 0, 1, 0, 0, 0)
DATA = struct.pack("<QIH10B", 0, 0xFFFF_FFFF, 0x10, 0b0011, 1, 0, 1, 1, 0, 1, 0, 0, 0)


class Machine:
    """RAM at guest physical address 0, and one virtual CPU in flat 32-bit protected mode, without paging."""

    def __init__(self, kvm: int) -> None:
        self.fd = fcntl.ioctl(kvm, KVM_CREATE_VM)
        self._ram = mmap.mmap(-1, RAM_SIZE)
        ram_address = ctypes.addressof(ctypes.c_char.from_buffer(self._ram))
        fcntl.ioctl(self.fd, KVM_SET_USER_MEMORY_REGION, struct.pack("<IIQQQ", RAM_SLOT, 0, 0, RAM_SIZE, ram_address))
        self._vcpu = fcntl.ioctl(self.fd, KVM_CREATE_VCPU)
        self._shared = mmap.mmap(self._vcpu, fcntl.ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE))  # struct kvm_run
        sregs = bytearray(312)  # struct kvm_sregs: six segments first, cr0 at byte 224
        fcntl.ioctl(self._vcpu, KVM_GET_SREGS, sregs)
        sregs[: 6 * len(CODE)] = CODE + 5 * DATA
        sregs[224] |= 1  # protection enable
        fcntl.ioctl(self._vcpu, KVM_SET_SREGS, bytes(sregs))

    def run(self, program: bytes) -> str:
        """Run a program and say how it ended: "halted", or what stopped it.

        After a program that was stopped the machine must not run again: KVM would take the access as done, and give the
        guest whatever bytes stand in the exit's data field.
        """
        self._ram[ENTRY : ENTRY + len(program)] = program
        fcntl.ioctl(self._vcpu, KVM_SET_REGS, struct.pack("<128xQQ", ENTRY, 2))  # rip, rflags
        try:
            fcntl.ioctl(self._vcpu, KVM_RUN)
        except OSError as error:
            if error.errno == errno.EFAULT:  # where the CPU runs the guest, host memory that does not allow an access
                return "stopped at an access that its memory does not allow"
            raise
        (reason,) = struct.unpack_from("<8xI", self._shared)
        if reason == KVM_EXIT_HLT:
            return "halted"
        if reason == KVM_EXIT_MMIO:  # the same, where KVM emulates the guest
            (address,) = struct.unpack_from("<32xQ", self._shared)
            return f"stopped at an access to {address:#x}, which no memory there allows"
        return f"stopped with KVM exit {reason}"

    def close(self) -> None:
        """Destroy it. Whatever showed it memory has to be gone by now."""
        self._shared.close()
        os.close(self._vcpu)
        os.close(self.fd)


@contextmanager
def open_machine(device: str) -> Iterator[Machine]:
    """A machine that is destroyed at the end of the block."""
    if platform.machine() != "x86_64":
        raise OSError(errno.ENOTSUP, "the guest's code is for x86-64")
    kvm = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    try:
        machine = Machine(kvm)
    finally:
        os.close(kvm)
    try:
        yield machine
    finally:
        machine.close()


def show(machine: Machine, source: Path, target: Path) -> bool:
    """Have the guest copy `source` to `target`, and then touch what it may not. True if all went as it should."""
    # The window has to be above the guest's RAM; the layout puts it there.
    share = WindowLayout(0, RAM_SIZE, [("files", 2 * SLICE)]).shares["files"]
    # Leaving the block takes the window from the guest, while the machine still exists.
    with DaxMapper.for_share(share, KvmBackend(machine.fd, WINDOW_SLOT)) as mapper:
        # The fds may be closed as soon as the mappings stand.
        with source.open("rb") as readable, target.open("r+b") as writable:
            mapper.setup_mapping(readable, 0, 0, LENGTH, writable=False)
            mapper.setup_mapping(writable, 0, SLICE, LENGTH, writable=True)
        for info in mapper:
            print(f"{info.length} bytes of inode {info.ino} at {share.base + info.window_offset:#x}")
        end = machine.run(guest.copy(share.base, share.base + SLICE, LENGTH))
        equal = target.read_bytes() == source.read_bytes()
        print(f"copy: the guest {end}; on the host the files are {'equal' if equal else 'NOT equal'}")

        mapper.remove_mapping(SLICE, LENGTH)
        end = machine.run(guest.load(share.base + SLICE))
        print(f"load from the mapping that was removed: the guest {end}")
        return equal and end.startswith("stopped at an access")


def main(device: str = "/dev/kvm") -> int:
    """Return the exit code."""
    with TemporaryDirectory() as directory:
        source, target = Path(directory, "source"), Path(directory, "target")
        source.write_bytes(os.urandom(LENGTH))
        target.write_bytes(bytes(LENGTH))
        try:
            with open_machine(device) as machine:
                return 0 if show(machine, source, target) else 1
        except OSError as error:
            print(error, file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main())
