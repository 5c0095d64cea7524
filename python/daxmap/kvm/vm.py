"""The machine: RAM, and a new virtual CPU when one is needed."""

import ctypes
import errno
import fcntl
import mmap
import platform
from io import FileIO
from types import TracebackType
from typing import Self

from daxmap.exits import Exit
from daxmap.guest import Program, ram_in_bytes
from daxmap.kvm.arm64 import Arm64Vcpu
from daxmap.kvm.calls import KVM_GET_VCPU_MMAP_SIZE, check_api_version, create_vm, set_memory_region
from daxmap.kvm.vcpu import Vcpu
from daxmap.kvm.x86 import X86Vcpu

DEVICE = "/dev/kvm"
RAM_SLOT = 0
"""The memory slot of a `Vm` that holds its RAM. All others are free for the caller."""

_VCPUS: dict[str, type[Vcpu]] = {"x86_64": X86Vcpu, "aarch64": Arm64Vcpu}
"""By what `platform.machine` says of the host."""


class Vm:
    """A virtual machine: `ram_size` bytes of RAM at guest physical address 0, and one vCPU.

    On x86-64 the vCPU is in flat 32-bit protected mode, without paging. On aarch64 it is at EL1 in AArch64 state, and
    the MMU translates each address below 4 GiB to itself, as write-back memory: the translation table and the exception
    vectors are below `guest.ENTRY`, put there anew for each program. The machine has no interrupts and no devices, but
    for what a program reports to: a Linux does not boot in it.

    A context manager; leaving it is `close`. A machine that is dropped unclosed is destroyed too, with a
    ResourceWarning. Not for more than one thread at a time.

    Args:
        ram_size: Bytes, a positive multiple of the page size, 4 GiB at most; or text such as "2MiB".
        device: Path of the KVM device.

    Raises:
        OSError: ENOTSUP: the host is neither x86-64 nor aarch64, or its KVM has another API version. ENOENT, EACCES:
            `device` does not open. ENOTTY: it is not KVM. ENOMEM: the host has not so much memory. Else the errno of
            KVM_CREATE_VM.
        TypeError: `ram_size` is neither an int nor a str.
        ValueError: `ram_size` is no such size.
    """

    def __init__(self, ram_size: int | str, *, device: str = DEVICE) -> None:
        ram_size = ram_in_bytes(ram_size)
        if platform.machine() not in _VCPUS:
            raise OSError(errno.ENOTSUP, f"the guest's code is for x86-64 and aarch64, not for {platform.machine()}")
        self._vcpu_type = _VCPUS[platform.machine()]
        with FileIO(device, "r+") as kvm:
            check_api_version(kvm)
            self._run_size = fcntl.ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE)
            self._vm = create_vm(kvm)
        self._vcpus_made = 0
        self._vcpu: Vcpu | None = None
        try:
            self._ram = mmap.mmap(-1, ram_size)
            self._set_ram_slot(ram_size)
        except BaseException:
            self._vm.close()
            raise

    @property
    def fd(self) -> int:
        """The machine's descriptor, to give to `KvmBackend`.

        Raises:
            ValueError: The machine is closed.
        """
        return self._vm.fileno()

    def fileno(self) -> int:
        """The same as `fd`, so that a machine itself can be given for its descriptor."""
        return self.fd

    def run(self, program: Program | bytes) -> Exit:
        """Run `program` to its end on the vCPU and say how it ended.

        After an exception and, on x86-64, after any other end than `Halted`, the vCPU is never entered again: KVM would
        take a refused access as done, and give the guest whatever bytes stand in the exit's data field. The next `run`
        gets a new vCPU. Signals are handled as they come; the program goes on afterwards, unless the handler raises.

        Args:
            program: What a function of `daxmap.guest` gives; or machine code for the host's own architecture, which
                reports and ends as that module says. One without an end is ended by a signal handler that raises.

        Raises:
            OSError: errno of KVM_RUN, of which an EFAULT is a `Fault` instead; EINVAL of KVM_CREATE_VCPU if the machine
                has had as many vCPUs as KVM gives to one: what KVM_CAP_MAX_VCPUS says, which is
                1024 on x86-64 mostly, and on aarch64 512, or 8 with a GICv2.
            ValueError: `program` does not fit into RAM, or the machine is closed.
        """
        if self._ram.closed:
            raise ValueError("the machine is closed")
        self._vcpu_type.put(program, self._ram)
        # It is put back only at the end: a signal handler that raises anywhere here cannot leave another one behind.
        vcpu, self._vcpu = self._vcpu or self._new_vcpu(), None
        try:
            end = vcpu.run()
            if isinstance(end, vcpu.reusable_after):
                self._vcpu = vcpu
        finally:
            if self._vcpu is not vcpu:
                vcpu.close()
        return end

    def close(self) -> None:
        """Destroy the virtual machine and free its RAM. Closing again does nothing.

        A duplicate of `fd` keeps the machine alive, but without a vCPU and without this RAM. A forked child that closes
        its copy leaves its parent's machine alone.
        """
        if self._vcpu is not None:
            self._vcpu.close()
            self._vcpu = None
        if not self._ram.closed:
            self._delete_ram_slot()
            self._ram.close()
        self._vm.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _new_vcpu(self) -> Vcpu:
        number = self._vcpus_made
        self._vcpus_made += 1
        return self._vcpu_type(self._vm, number, self._run_size)

    def _set_ram_slot(self, size: int) -> None:
        """Point the RAM slot at the RAM, or delete it with size 0."""
        host_address = ctypes.addressof(ctypes.c_char.from_buffer(self._ram))
        set_memory_region(self._vm, RAM_SLOT, 0, size, host_address)

    def _delete_ram_slot(self) -> None:
        try:
            self._set_ram_slot(0)
        except OSError as error:
            # EINVAL: an interrupted `close` has deleted it already. EIO: a forked child, whose parent has the machine.
            if error.errno not in {errno.EINVAL, errno.EIO}:
                raise
