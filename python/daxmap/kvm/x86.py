"""A virtual CPU of x86 in flat 32-bit protected mode.

Layouts are those of the kernel's arch/x86/include/uapi/asm/kvm.h.
"""

import fcntl
import mmap
import struct
from io import FileIO

from daxmap.exits import Exit, Halted, Mmio
from daxmap.guest import ENTRY, REPORT_PORT, Program, check_code
from daxmap.kvm.vcpu import EXIT_MMIO, MMIO_EXIT, Vcpu, unknown

_SET_REGS = 0x4090AE82
_GET_SREGS = 0x8138AE83
_SET_SREGS = 0x4138AE84

_EXIT_IO = 2
_EXIT_HLT = 5
_IO_OUT = 1
_IO_EXIT = struct.Struct("<32xBBHIQ")  # struct kvm_run: direction, size, port, count, data_offset

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


class X86Vcpu(Vcpu):
    """See `Vcpu`."""

    # Entered again after a refused access, KVM would take it as done, and write over registers that are set by then.
    reusable_after = Halted

    def __init__(self, vm: FileIO, number: int, run_size: int) -> None:
        super().__init__(vm, number, run_size)
        sregs = bytearray(_SREGS_SIZE)
        fcntl.ioctl(self._file, _GET_SREGS, sregs)
        segments = _CODE_SEGMENT + 5 * _DATA_SEGMENT
        sregs[: len(segments)] = segments
        sregs[_CR0_OFFSET] |= _CR0_PROTECTION_ENABLE
        fcntl.ioctl(self._file, _SET_SREGS, bytes(sregs))

    @staticmethod
    def put(program: Program | bytes, ram: mmap.mmap) -> None:
        """See `Vcpu.put`."""
        code = check_code(program.x86 if isinstance(program, Program) else program, len(ram))
        ram[ENTRY : ENTRY + len(code)] = code

    def _set_registers(self, entry: int) -> None:
        fcntl.ioctl(self._file, _SET_REGS, _REGS.pack(entry, _RFLAGS))

    def _end(self, reason: int, values: list[int]) -> Exit | None:
        if reason == _EXIT_HLT:
            return Halted(tuple(values))
        if reason == EXIT_MMIO:
            address, _, _, is_write = MMIO_EXIT.unpack_from(self._shared)
            return Mmio(address, bool(is_write))
        if reason != _EXIT_IO:
            return unknown(reason)
        direction, size, port, _, data = _IO_EXIT.unpack_from(self._shared)
        if (direction, port) != (_IO_OUT, REPORT_PORT):
            return unknown(reason)
        values.append(int.from_bytes(self._shared[data : data + size], "little"))
        return None
