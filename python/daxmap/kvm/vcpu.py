"""One virtual CPU in flat 32-bit protected mode, and its ways out of the guest told apart.

Numbers and layouts are those of the kernel's include/uapi/linux/kvm.h and arch/x86/include/uapi/asm/kvm.h; what the
calls do is in Documentation/virt/kvm/api.rst.
"""

import errno
import fcntl
import mmap
import struct
from io import FileIO

from daxmap.exits import Exit, Fault, Halted, Mmio, Stopped
from daxmap.guest import REPORT_PORT
from daxmap.kvm.calls import KVM_CREATE_VCPU, open_by_ioctl

_RUN = 0xAE80
_SET_REGS = 0x4090AE82
_GET_SREGS = 0x8138AE83
_SET_SREGS = 0x4138AE84

_EXIT_IO = 2
_EXIT_HLT = 5
_EXIT_MMIO = 6
_EXIT_MEMORY_FAULT = 39
_IO_OUT = 1

# struct kvm_run: exit_reason, and what the exit says of itself in the union at byte 32.
_EXIT_REASON = struct.Struct("<8xI")
_IO_EXIT = struct.Struct("<32xBBHIQ")  # direction, size, port, count, data_offset
_MMIO_EXIT = struct.Struct("<32xQ8xIB")  # phys_addr, (data), len, is_write
_MEMORY_FAULT_EXIT = struct.Struct("<40xQ")  # (flags), gpa, (size)
# struct kvm_segment: base, limit, selector, type, present, dpl, db, s, l, g, avl, unusable, padding.
_SEGMENT = struct.Struct("<QIH10B")
_CODE_SEGMENT = _SEGMENT.pack(0, 0xFFFF_FFFF, 0x08, 0b1011, 1, 0, 1, 1, 0, 1, 0, 0, 0)  # execute, read
_DATA_SEGMENT = _SEGMENT.pack(0, 0xFFFF_FFFF, 0x10, 0b0011, 1, 0, 1, 1, 0, 1, 0, 0, 0)  # read, write
# struct kvm_sregs: cs, ds, es, fs, gs, ss, then tr, ldt, gdt, idt, then cr0 at byte 224, and more.
_SREGS_SIZE = 312
_CR0_OFFSET = 224
_CR0_PROTECTION_ENABLE = 1
# struct kvm_regs: rax to r15, then rip, rflags. Bit 1 of rflags always reads as 1.
_REGS = struct.Struct("<128xQQ")
_RFLAGS = 0x2


class Vcpu:
    """A virtual CPU, and the struct kvm_run that it shares with KVM.

    Args:
        vm: the machine.
        number: one that the machine has not had yet: KVM keeps a virtual CPU as long as its machine.
        run_size: bytes of the shared memory, from KVM_GET_VCPU_MMAP_SIZE.

    Raises:
        OSError: errno of KVM_CREATE_VCPU: EINVAL if the machine has had as many as it may.
    """

    def __init__(self, vm: FileIO, number: int, run_size: int) -> None:
        self._file = open_by_ioctl(vm, KVM_CREATE_VCPU, number)
        self._shared = mmap.mmap(self._file.fileno(), run_size)
        sregs = bytearray(_SREGS_SIZE)
        fcntl.ioctl(self._file, _GET_SREGS, sregs)
        segments = _CODE_SEGMENT + 5 * _DATA_SEGMENT
        sregs[: len(segments)] = segments
        sregs[_CR0_OFFSET] |= _CR0_PROTECTION_ENABLE
        fcntl.ioctl(self._file, _SET_SREGS, bytes(sregs))

    def close(self) -> None:
        """Let go of it."""
        self._shared.close()
        self._file.close()

    def run(self, entry: int) -> Exit:
        """Run from the guest physical address `entry` on until the program ends."""
        fcntl.ioctl(self._file, _SET_REGS, _REGS.pack(entry, _RFLAGS))
        values: list[int] = []
        while True:
            try:
                fcntl.ioctl(self._file, _RUN)
            except InterruptedError:
                continue  # Python's signal handlers have run
            except OSError as error:
                if error.errno == errno.EFAULT:
                    return fault(self._shared)
                raise
            (reason,) = _EXIT_REASON.unpack_from(self._shared)
            if reason == _EXIT_HLT:
                return Halted(tuple(values))
            if reason == _EXIT_MMIO:
                address, _, is_write = _MMIO_EXIT.unpack_from(self._shared)
                return Mmio(address, bool(is_write))
            if reason != _EXIT_IO:
                return Stopped(f"KVM exit {reason}")
            direction, size, port, _, data = _IO_EXIT.unpack_from(self._shared)
            if (direction, port) != (_IO_OUT, REPORT_PORT):
                return Stopped(f"KVM exit {reason}")
            values.append(int.from_bytes(self._shared[data : data + size], "little"))


def fault(shared: bytes | mmap.mmap) -> Fault:
    """What a struct kvm_run says of an EFAULT of KVM_RUN."""
    (reason,) = _EXIT_REASON.unpack_from(shared)
    if reason != _EXIT_MEMORY_FAULT:
        return Fault()
    (address,) = _MEMORY_FAULT_EXIT.unpack_from(shared)
    return Fault(address)
