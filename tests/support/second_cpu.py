"""A virtual CPU more for a `Vm`, which has one of its own."""

import ctypes
import fcntl
import mmap
import os
from io import FileIO
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from daxmap.exits import Exit
from daxmap.kvm import DEVICE, Vm, set_memory_region
from daxmap.kvm.calls import KVM_GET_VCPU_MMAP_SIZE
from daxmap.kvm.vcpu import Vcpu
from support.host import PAGE

SLOT = 100
"""Of the page with its program."""
ENTRY = 1 << 30
"""Where that page is in the guest."""
FIRST_NUMBER = 512
"""Of its virtual CPUs: a `Vm` counts its own from 0 on."""


class SecondCpu:
    """Runs a program beside the one that the machine itself runs. Each is run by a new virtual CPU."""

    def __init__(self, vm: Vm) -> None:
        with Path(DEVICE).open("rb", buffering=0) as kvm:
            self._run_size = fcntl.ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE)
        self._vm = FileIO(os.dup(vm.fd), "r+")
        self._numbers = count(FIRST_NUMBER)
        self._code = mmap.mmap(-1, PAGE)
        set_memory_region(self._vm, SLOT, ENTRY, PAGE, ctypes.addressof(ctypes.c_char.from_buffer(self._code)))

    def run(self, program: bytes) -> Exit:
        """Run a program to its end, and say how it ended."""
        self._code[: len(program)] = program
        vcpu = Vcpu(self._vm, next(self._numbers), self._run_size)
        try:
            return vcpu.run(ENTRY)
        finally:
            vcpu.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        set_memory_region(self._vm, SLOT, ENTRY, 0, 0)
        self._vm.close()
        self._code.close()
