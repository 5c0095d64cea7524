"""One virtual CPU, and its ways out of the guest told apart: what is the same on every architecture.

Numbers and layouts are those of the kernel's include/uapi/linux/kvm.h; what the calls do is in
Documentation/virt/kvm/api.rst.
"""

import errno
import fcntl
import mmap
import struct
from abc import ABC, abstractmethod
from io import FileIO
from types import UnionType
from typing import ClassVar

from daxmap.exits import Exit, Fault, Stopped
from daxmap.guest import ENTRY, Program
from daxmap.kvm.calls import KVM_CREATE_VCPU, open_by_ioctl

EXIT_MMIO = 6
MMIO_EXIT = struct.Struct("<32xQ8sIB")
"""What an MMIO exit says of itself in struct kvm_run: phys_addr, data, len, is_write."""

_RUN = 0xAE80
_EXIT_MEMORY_FAULT = 39
# struct kvm_run: exit_reason, and what the exit says of itself in the union at byte 32.
_EXIT_REASON = struct.Struct("<8xI")
_MEMORY_FAULT_EXIT = struct.Struct("<40xQ")  # (flags), gpa, (size)


class Vcpu(ABC):
    """A virtual CPU, and the struct kvm_run that it shares with KVM.

    Args:
        vm: the machine.
        number: one that the machine has not had yet: KVM keeps a virtual CPU as long as its machine.
        run_size: bytes of the shared memory, from KVM_GET_VCPU_MMAP_SIZE.

    Raises:
        OSError: errno of KVM_CREATE_VCPU: EINVAL if the machine has had as many as it may.
    """

    reusable_after: ClassVar[type | UnionType]
    """The ends after which it may run another program."""

    def __init__(self, vm: FileIO, number: int, run_size: int) -> None:
        self._file = open_by_ioctl(vm, KVM_CREATE_VCPU, number)
        self._shared = mmap.mmap(self._file.fileno(), run_size)

    def close(self) -> None:
        """Let go of it."""
        self._shared.close()
        self._file.close()

    def run(self, entry: int = ENTRY) -> Exit:
        """Run what is at a guest physical address until it ends."""
        self._set_registers(entry)
        values: list[int] = []
        while True:
            try:
                fcntl.ioctl(self._file, _RUN)
            except InterruptedError:
                continue  # Python's signal handlers have run
            except OSError as error:
                if error.errno == errno.EFAULT:
                    return fault(self._shared)
                if error.errno == errno.ENOSYS:  # arm64's
                    return Stopped(
                        "an access to no memory, by an instruction of which the CPU does not say what it does"
                    )
                raise
            (reason,) = _EXIT_REASON.unpack_from(self._shared)
            end = self._end(reason, values)
            if end is not None:
                return end

    @staticmethod
    @abstractmethod
    def put(program: Program | bytes, ram: mmap.mmap) -> None:
        """Put a program into RAM, and whatever else has to be there when it begins.

        Raises:
            ValueError: It does not fit.
        """

    @abstractmethod
    def _set_registers(self, entry: int) -> None:
        """Have the CPU begin at an address."""

    @abstractmethod
    def _end(self, reason: int, values: list[int]) -> Exit | None:
        """What an exit means: the program's end, or None where it goes on. A value that it reports goes to `values`."""


def fault(shared: bytes | mmap.mmap) -> Fault:
    """What a struct kvm_run says of an EFAULT of KVM_RUN."""
    (reason,) = _EXIT_REASON.unpack_from(shared)
    if reason != _EXIT_MEMORY_FAULT:
        return Fault()
    (address,) = _MEMORY_FAULT_EXIT.unpack_from(shared)
    return Fault(address)


def unknown(reason: int) -> Stopped:
    """An exit that no program of ours makes."""
    return Stopped(f"KVM exit {reason}")
