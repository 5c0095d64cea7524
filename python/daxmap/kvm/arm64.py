"""A virtual CPU of arm64 at EL1, with each address translated to itself.

Numbers and layouts are those of the kernel's include/uapi/linux/kvm.h.
"""

import ctypes
import fcntl
import mmap
import struct
from io import FileIO

from daxmap.exits import Exit, Fault, Halted, Mmio, Stopped
from daxmap.guest import END_ADDRESS, ENTRY, REPORT_ADDRESS, Program, check_code
from daxmap.guest.arm64 import EXCEPTION_ADDRESS
from daxmap.kvm.arm64_start import below_entry, registers
from daxmap.kvm.vcpu import EXIT_MMIO, MMIO_EXIT, Vcpu, unknown

_PREFERRED_TARGET = 0x8020AEAF
_VCPU_INIT = 0x4020AEAE
_SET_ONE_REG = 0x4010AEAC

_VCPU_INIT_SIZE = 32  # struct kvm_vcpu_init: target, features
_ONE_REG = struct.Struct("<QQ")  # struct kvm_one_reg: id, addr


class Arm64Vcpu(Vcpu):
    """See `Vcpu`."""

    # Entered again after a refused access, KVM takes it as done: the register of the load gets a value, which no
    # program reads, and PC is stepped, which `registers` allows for. With a GICv2 a machine has no more than 8 vCPUs.
    reusable_after = Halted | Mmio | Fault

    def __init__(self, vm: FileIO, number: int, run_size: int) -> None:
        super().__init__(vm, number, run_size)
        target = bytearray(_VCPU_INIT_SIZE)
        fcntl.ioctl(vm, _PREFERRED_TARGET, target)  # the CPU of the host, without optional features
        fcntl.ioctl(self._file, _VCPU_INIT, bytes(target))

    @staticmethod
    def put(program: Program | bytes, ram: mmap.mmap) -> None:
        """See `Vcpu.put`."""
        code = check_code(program.arm64 if isinstance(program, Program) else program, len(ram))
        end = ENTRY + len(code)
        ram[:end] = below_entry(mmap.PAGESIZE) + code
        # The CPU may still have the program before in its instruction cache. KVM cleans and invalidates the caches when
        # it gives the guest a page to execute, since that may come fresh from a disk. So these pages are taken out of
        # the process's page table, and with that out of the guest's; being shared memory, they keep their contents.
        # Other data need no such care: host and guest both access them as Normal write-back memory.
        ram.madvise(mmap.MADV_DONTNEED, 0, end)

    def _set_registers(self, entry: int) -> None:
        for register, value in registers(mmap.PAGESIZE, entry).items():
            number = ctypes.c_uint64(value)
            fcntl.ioctl(self._file, _SET_ONE_REG, _ONE_REG.pack(register, ctypes.addressof(number)))

    def _end(self, reason: int, values: list[int]) -> Exit | None:
        if reason != EXIT_MMIO:
            return unknown(reason)
        address, data, length, is_write = MMIO_EXIT.unpack_from(self._shared)
        value = int.from_bytes(data[:length], "little")
        if not is_write:
            return Mmio(address, is_write=False)
        if address == REPORT_ADDRESS:
            values.append(value)
            return None
        if address == END_ADDRESS:
            return Halted(tuple(values))
        if address == EXCEPTION_ADDRESS:
            return Stopped(f"an exception, with ESR_EL1 {value:#x}")
        return Mmio(address, is_write=True)
