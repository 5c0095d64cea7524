"""The smallest honest VMM over /dev/kvm: RAM, one vCPU, and every way out of the guest told apart.

The numbers and layouts are those of the kernel's include/uapi/linux/kvm.h and
arch/x86/include/uapi/asm/kvm.h; what the calls do is in Documentation/virt/kvm/api.rst. x86-64 hosts only.
"""

import ctypes
import errno
import fcntl
import mmap
import os
import platform
import struct
from types import TracebackType
from typing import Self

from daxmap.demo.exits import Exit, Fault, Halted, Mmio, Stopped
from daxmap.demo.guest import REPORT_PORT

__all__ = ["DEVICE", "RAM_SLOT", "Exit", "Fault", "Halted", "Mmio", "Stopped", "Vm"]

DEVICE = "/dev/kvm"
RAM_SLOT = 0
"""The memslot that holds the guest's RAM. All others are free for the caller."""

_API_VERSION = 12
_GET_API_VERSION = 0xAE00
_CREATE_VM = 0xAE01
_GET_VCPU_MMAP_SIZE = 0xAE04
_CREATE_VCPU = 0xAE41
_SET_USER_MEMORY_REGION = 0x4020AE46
_RUN = 0xAE80
_SET_REGS = 0x4090AE82
_GET_SREGS = 0x8138AE83
_SET_SREGS = 0x4138AE84

_EXIT_IO = 2
_EXIT_HLT = 5
_EXIT_MMIO = 6
_IO_OUT = 1

# struct kvm_userspace_memory_region: slot, flags, guest_phys_addr, memory_size, userspace_addr.
_MEMORY_REGION = struct.Struct("<IIQQQ")
# struct kvm_run: exit_reason, and what the exit says of itself in the union at byte 32.
_EXIT_REASON = struct.Struct("<8xI")
_IO_EXIT = struct.Struct("<32xBBHIQ")  # direction, size, port, count, data_offset
_MMIO_EXIT = struct.Struct("<32xQ8xIB")  # phys_addr, (data), len, is_write
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

_ENTRY = 0x1000  # where in RAM a program is put; page 0 stays zero, so a jump to NULL is not a program


class Vm:
    """A virtual machine: `ram_size` bytes of RAM at guest physical address 0, and one vCPU.

    A context manager; leaving it is `close`. Not for more than one thread at a time.

    Args:
        ram_size: bytes, a multiple of the page size.
        device: path of the KVM device.

    Raises:
        OSError: errno of the call that failed, ENOENT or EACCES when `device` does not open; ENOTSUP when the
            host is not x86-64 or its KVM speaks another API version.
    """

    def __init__(self, ram_size: int, *, device: str = DEVICE) -> None:
        if platform.machine() != "x86_64":
            raise OSError(errno.ENOTSUP, f"the guest's code is for x86-64, not for {platform.machine()}")
        self.fd = -1
        """The machine's own descriptor, to give to `KvmBackend`."""
        self._files = _Files()
        self._ram = mmap.mmap(-1, ram_size)
        self._vcpus_made = 0
        self._vcpu: _Vcpu | None = None
        try:
            self._open(device)
        except BaseException:
            self.close()
            raise

    def _open(self, device: str) -> None:
        kvm = self._files.open(device)
        version = fcntl.ioctl(kvm, _GET_API_VERSION)
        if version != _API_VERSION:
            raise OSError(errno.ENOTSUP, f"KVM API version {version}, not {_API_VERSION}", device)
        self._run_size = fcntl.ioctl(kvm, _GET_VCPU_MMAP_SIZE)
        self.fd = self._files.open_by_ioctl(kvm, _CREATE_VM, 0)
        self._set_ram_slot(len(self._ram))

    def run(self, program: bytes) -> Exit:
        """Run `program` to its end on the vCPU and say how it ended.

        After any other end than `Halted`, an exception included, the vCPU is never entered again: KVM would
        take a refused access as done, and give the guest whatever bytes stand in the exit's data field. The
        next `run` gets a new vCPU. Signals are handled as they come; the program goes on afterwards, unless
        the handler raises.

        Raises:
            OSError: errno of KVM_CREATE_VCPU or KVM_RUN; an EFAULT of the latter is a `Fault` instead.
            ValueError: if the program does not fit into RAM.
        """
        if _ENTRY + len(program) > len(self._ram):
            raise ValueError(f"a program of {len(program)} bytes does not fit into RAM")
        self._ram[_ENTRY : _ENTRY + len(program)] = program
        end: Exit | None = None
        try:
            if self._vcpu is None:
                self._vcpu = _Vcpu()
                number, self._vcpus_made = self._vcpus_made, self._vcpus_made + 1
                self._vcpu.make(self.fd, number, self._run_size)
            end = self._vcpu.run()
        finally:
            if not isinstance(end, Halted):
                self._give_up_vcpu()
        return end

    def close(self) -> None:
        """Destroy the virtual machine and free its RAM. Closing again does nothing.

        A duplicate of `fd` keeps the machine alive, but without a vCPU and without this RAM.
        """
        self._give_up_vcpu()
        if not self._ram.closed:
            if self.fd >= 0:
                self._delete_ram_slot()
            self._ram.close()
        self._files.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _give_up_vcpu(self) -> None:
        if self._vcpu is not None:
            self._vcpu.close()
            self._vcpu = None

    def _set_ram_slot(self, size: int) -> None:
        """Point the RAM slot at the RAM, or delete it with size 0."""
        host_address = ctypes.addressof(ctypes.c_char.from_buffer(self._ram))
        fcntl.ioctl(self.fd, _SET_USER_MEMORY_REGION, _MEMORY_REGION.pack(RAM_SLOT, 0, 0, size, host_address))

    def _delete_ram_slot(self) -> None:
        try:
            self._set_ram_slot(0)
        except OSError as error:
            if error.errno != errno.EINVAL:  # which means that it was not put in yet
                raise


class _Files:
    """Descriptors, and memory mapped by them, that are closed together.

    A signal handler may raise between any two bytecodes, so also between the call that makes a descriptor and the store
    of its number, which nobody would know then. Here both are done by C code alone, and so is the way back.
    """

    def __init__(self) -> None:
        self._fds: list[int] = []
        self._maps: list[mmap.mmap] = []

    def open(self, path: str) -> int:
        """Open a file to read and write, and return its descriptor."""
        self._fds.extend(map(os.open, (path,), (os.O_RDWR | os.O_CLOEXEC,)))
        return self._fds[-1]

    def open_by_ioctl(self, fd: int, request: int, argument: int) -> int:
        """Make a descriptor by an ioctl, and return it."""
        while True:
            try:
                self._fds.extend(map(fcntl.ioctl, (fd,), (request,), (argument,)))
            except InterruptedError:
                continue
            return self._fds[-1]

    def map(self, fd: int, size: int) -> mmap.mmap:
        """Map memory of one of them, which gets a descriptor of its own."""
        self._maps.append(mmap.mmap(fd, size))
        return self._maps[-1]

    def close(self) -> None:
        """Close everything. If a signal handler raises meanwhile, the next call closes the rest."""
        for memory in self._maps:
            memory.close()
        list(map(os.close, map(self._fds.pop, [-1] * len(self._fds))))


class _Vcpu:
    """One virtual CPU in flat 32-bit protected mode, with the page that it shares with KVM."""

    def __init__(self) -> None:
        self._files = _Files()

    def make(self, vm_fd: int, number: int, run_size: int) -> None:
        """Make it, with a number that the machine has not had yet. Whatever comes of it, `close` undoes it."""
        self._fd = self._files.open_by_ioctl(vm_fd, _CREATE_VCPU, number)
        self._shared = self._files.map(self._fd, run_size)
        sregs = bytearray(_SREGS_SIZE)
        fcntl.ioctl(self._fd, _GET_SREGS, sregs)
        segments = _CODE_SEGMENT + 5 * _DATA_SEGMENT
        sregs[: len(segments)] = segments
        sregs[_CR0_OFFSET] |= _CR0_PROTECTION_ENABLE
        fcntl.ioctl(self._fd, _SET_SREGS, bytes(sregs))

    def close(self) -> None:
        """Close what it has, if it was made."""
        self._files.close()

    def run(self) -> Exit:
        """Run from the entry point until the program ends."""
        fcntl.ioctl(self._fd, _SET_REGS, _REGS.pack(_ENTRY, _RFLAGS))
        values: list[int] = []
        while True:
            try:
                fcntl.ioctl(self._fd, _RUN)
            except InterruptedError:
                continue  # Python's signal handlers have run
            except OSError as error:
                if error.errno == errno.EFAULT:
                    return Fault()
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
