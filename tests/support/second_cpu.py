"""A virtual CPU more for a `Vm`, which has one of its own."""

import ctypes
import fcntl
import mmap
import os
import platform
from io import FileIO
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from daxmap.exits import Exit
from daxmap.guest import Program
from daxmap.kvm import DEVICE, Vm, set_memory_region
from daxmap.kvm.arm64 import Arm64Vcpu
from daxmap.kvm.calls import KVM_GET_VCPU_MMAP_SIZE
from daxmap.kvm.x86 import X86Vcpu
from support.host import PAGE

SLOT = 100
"""Of the page with its program."""
CODE = 1 << 30
"""Where that page is in the guest."""
FIRST_NUMBER = 256
"""Of its virtual CPUs: a `Vm` counts its own from 0 on."""


NOP = {"x86_64": b"\x90" * 4, "aarch64": b"\x1f\x20\x03\xd5"}[platform.machine()]
"""Four bytes that do nothing. A virtual CPU of arm64 may begin with them."""


class SecondCpu:
    """Runs a program beside the one that the machine itself runs. Each is run by a new virtual CPU."""

    def __init__(self, vm: Vm) -> None:
        with Path(DEVICE).open("rb", buffering=0) as kvm:
            self._run_size = fcntl.ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE)
        self._vm = FileIO(os.dup(vm.fd), "r+")
        self._numbers = count(FIRST_NUMBER)
        self._code = mmap.mmap(-1, PAGE)
        set_memory_region(self._vm, SLOT, CODE, PAGE, ctypes.addressof(ctypes.c_char.from_buffer(self._code)))

    def run(self, program: Program) -> Exit:
        """Run a program to its end, and say how it ended."""
        is_x86 = platform.machine() == "x86_64"
        code = NOP + (program.x86 if is_x86 else program.arm64)
        self._code[: len(code)] = code
        self._code.madvise(mmap.MADV_DONTNEED)  # see Arm64Vcpu.put
        vcpu = (X86Vcpu if is_x86 else Arm64Vcpu)(self._vm, next(self._numbers), self._run_size)
        try:
            return vcpu.run(CODE + len(NOP))
        finally:
            vcpu.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        set_memory_region(self._vm, SLOT, CODE, 0, 0)
        self._vm.close()
        self._code.close()
