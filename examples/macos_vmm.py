"""A virtual machine monitor on Hypervisor.framework: its guest copies a word of one host file into another.

    python examples/macos_vmm.py

For Macs with Apple silicon. NOT YET RUN ON A MAC: the tests run it on Linux, over a stand-in for the framework. The
Python binary needs the entitlement com.apple.security.hypervisor: docs/how-to/macos.md tells how to give it that.

Exits with 0 if all went as it should, with 2 where there is no such framework, else with 1. Names and numbers are those
of the framework's headers: hv_vm.h, hv_vcpu.h, hv_vcpu_types.h. daxmap's part is in `show`.
"""

import ctypes
import errno
import mmap
import os
import struct
import sys
from contextlib import ExitStack
from ctypes import POINTER, c_size_t, c_uint32, c_uint64, c_void_p
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from daxmap import Access, DaxMapper, HvfBackend, WindowLayout

FRAMEWORK = "/System/Library/Frameworks/Hypervisor.framework/Hypervisor"
HV_DENIED = 0xFAE94007
HV_EXIT_REASON_EXCEPTION = 1
HV_REG_X0, HV_REG_X1, HV_REG_PC, HV_REG_CPSR = 0, 1, 31, 34
EL1, INTERRUPTS_MASKED = 0x5, 0x3C0  # of CPSR; the MMU is off after a reset
EC_HVC, EC_DATA_ABORT = 0x16, 0x24  # exception classes of the syndrome: Arm Architecture Reference Manual, ESR_EL2

RAM_BASE, RAM_SIZE = 1 << 30, 2 << 20
SLICE = 2 << 20  # a Linux guest asks for the window in slices of this size
WORD = 8
COPY_WORD = struct.pack("<3I", 0xF9400002, 0xF9000022, 0xD4000002)  # ldr x2, [x0]; str x2, [x1]; hvc #0


class VcpuException(ctypes.Structure):
    """`hv_vcpu_exit_exception_t`."""

    _fields_ = (("syndrome", c_uint64), ("virtual_address", c_uint64), ("physical_address", c_uint64))


class VcpuExit(ctypes.Structure):
    """`hv_vcpu_exit_t`."""

    _fields_ = (("reason", c_uint32), ("exception", VcpuException))


PROTOTYPES = {
    "hv_vm_create": [c_void_p],
    "hv_vm_destroy": [],
    "hv_vm_map": [c_void_p, c_uint64, c_size_t, c_uint64],
    "hv_vm_unmap": [c_uint64, c_size_t],
    "hv_vcpu_create": [POINTER(c_uint64), POINTER(POINTER(VcpuExit)), c_void_p],
    "hv_vcpu_destroy": [c_uint64],
    "hv_vcpu_set_reg": [c_uint64, c_uint32, c_uint64],
    "hv_vcpu_run": [c_uint64],
}


def load(path: str) -> ctypes.CDLL:
    """Load the framework. A return code that is not HV_SUCCESS will be an OSError."""

    def check(code: int, function: Any, _arguments: object) -> None:  # noqa: ANN401 - ctypes has no name for its type
        if code:
            hint = ": the Python binary lacks the entitlement, see docs/how-to/macos.md" if code == HV_DENIED else ""
            raise OSError(errno.EIO, f"{function.__name__} returned {code:#x}{hint}")

    library = ctypes.CDLL(path)
    for name, types in PROTOTYPES.items():
        function = getattr(library, name)
        function.argtypes, function.restype, function.errcheck = types, c_uint32, check
    return library


class Machine:
    """The VM of this process: RAM that holds the program, and one virtual CPU."""

    def __init__(self, hv: ctypes.CDLL, undo: ExitStack) -> None:
        self._hv, self._vcpu, self._exit = hv, c_uint64(), POINTER(VcpuExit)()
        hv.hv_vm_create(None)
        undo.callback(hv.hv_vm_destroy)
        ram = undo.enter_context(mmap.mmap(-1, RAM_SIZE, mmap.MAP_PRIVATE | mmap.MAP_ANON))
        ram[: len(COPY_WORD)] = COPY_WORD
        address = ctypes.addressof(ctypes.c_char.from_buffer(ram))
        hv.hv_vm_map(address, RAM_BASE, RAM_SIZE, Access.READ | Access.WRITE | Access.EXEC)
        undo.callback(hv.hv_vm_unmap, RAM_BASE, RAM_SIZE)
        hv.hv_vcpu_create(ctypes.byref(self._vcpu), ctypes.byref(self._exit), None)
        undo.callback(hv.hv_vcpu_destroy, self._vcpu)

    def run(self, x0: int, x1: int) -> str:
        """Run the program and say how it ended: "called its hypervisor", or what stopped it."""
        pstate = EL1 | INTERRUPTS_MASKED
        for register, value in {HV_REG_X0: x0, HV_REG_X1: x1, HV_REG_PC: RAM_BASE, HV_REG_CPSR: pstate}.items():
            self._hv.hv_vcpu_set_reg(self._vcpu, register, value)
        self._hv.hv_vcpu_run(self._vcpu)
        end = self._exit.contents
        exception_class = end.exception.syndrome >> 26 & 0x3F if end.reason == HV_EXIT_REASON_EXCEPTION else None
        if exception_class == EC_HVC:
            return "called its hypervisor"
        if exception_class == EC_DATA_ABORT:
            return f"stopped at an access to {end.exception.physical_address:#x}, which no memory there allows"
        return f"stopped with exit {end.reason}, syndrome {end.exception.syndrome:#x}"


def show(machine: Machine, path: str, source: Path, target: Path) -> bool:
    """Have the guest copy a word of `source` to `target`, and then touch what it may not. True if all went well."""
    # The window has to be above the guest's RAM; the layout puts it there.
    share = WindowLayout(RAM_BASE, RAM_SIZE, [("files", 2 * SLICE)])["files"]
    # Leaving the block takes the window from the guest, while the VM still exists.
    with DaxMapper.for_share(share, HvfBackend(framework=path)) as mapper:
        # The fds may be closed as soon as the mappings stand.
        with source.open("rb") as readable, target.open("r+b") as writable:
            mapper.setup_mapping(readable, 0, 0, mapper.page_size, writable=False)
            mapper.setup_mapping(writable, 0, SLICE, mapper.page_size, writable=True)
        end = machine.run(share.base, share.base + SLICE)
        equal = target.read_bytes() == source.read_bytes()
        print(f"copy: the guest {end}; on the host the files are {'equal' if equal else 'NOT equal'}")

        mapper.remove_mapping(SLICE, mapper.page_size)
        end = machine.run(share.base, share.base + SLICE)
        print(f"store to the mapping that was removed: the guest {end}")
        return equal and end.startswith("stopped at an access")


def main(path: str = FRAMEWORK) -> int:
    """Return the exit code."""
    try:
        framework = load(path)
    except (OSError, AttributeError) as error:  # AttributeError: on Intel, virtual CPUs have other functions
        print(f"this needs macOS on Apple silicon: {error}", file=sys.stderr)
        return 2
    with TemporaryDirectory() as directory:
        source, target = Path(directory, "source"), Path(directory, "target")
        source.write_bytes(os.urandom(WORD))
        target.write_bytes(bytes(WORD))
        try:
            with ExitStack() as undo:
                return 0 if show(Machine(framework, undo), path, source, target) else 1
        except OSError as error:
            print(error, file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
