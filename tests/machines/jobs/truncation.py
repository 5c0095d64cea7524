"""What a guest's touch of a page past the end of a truncated file ends with: it depends on the machine.

With an interrupt controller in the kernel and interrupts on, as every ordinary Linux guest on x86 has them, KVM waits
for the page on a kernel thread (arch/x86/kvm/mmu/mmu.c, kvm_arch_setup_async_pf). That fails in silence, the guest is
resumed, and touches the page again, for ever. Everywhere else KVM_RUN ends, with EFAULT. This is what the documentation
tells, and so the exit status is 1 where it is otherwise.
"""

import fcntl
import os
import signal
import sys
import tempfile
import time
from itertools import product

from daxmap import DaxMapper, KvmBackend, guest
from daxmap.exits import Fault
from daxmap.kvm import Vm

PAGE = os.sysconf("SC_PAGESIZE")
MIB = 1 << 20
BASE = 2 * MIB
WRITABLE, READ_ONLY, HOLE = 0, MIB, 2 * MIB
PROGRAMS = {
    "a page past the end": guest.load(BASE + WRITABLE + 4 * PAGE),
    "a hole": guest.load(BASE + HOLE),
    "a store to a read-only page": guest.store(BASE + READ_ONLY, 1),
}
KVM_CREATE_IRQCHIP = 0xAE60
STI = b"\xfb"
"""Switches interrupts on."""
MACHINES = {
    "without an interrupt controller": (False, STI),
    "with one, interrupts off": (True, b""),
    "with one, interrupts on": (True, STI),
}
SPINS = ("with one, interrupts on", "a page past the end")
PATIENCE = 3  # seconds without an exit


class NoExitError(Exception):
    """The guest goes round and round."""


def no_exit(*_: object) -> None:
    raise NoExitError


def touch(machine: str, what: str) -> str:
    """How a program ends in a new machine, whose file was truncated to a page."""
    irqchip, start = MACHINES[machine]
    with Vm(BASE) as vm, tempfile.NamedTemporaryFile() as file:
        if irqchip:
            fcntl.ioctl(vm, KVM_CREATE_IRQCHIP)
        file.truncate(8 * PAGE)
        with DaxMapper(BASE, 4 * MIB, KvmBackend(vm, slot=1)) as mapper:
            mapper.setup_mapping(file, 0, WRITABLE, 8 * PAGE, writable=True)
            mapper.setup_mapping(file, 0, READ_ONLY, 8 * PAGE, writable=False)
            file.truncate(PAGE)
            signal.setitimer(signal.ITIMER_REAL, PATIENCE)
            busy = time.process_time()
            try:
                end = vm.run(start + PROGRAMS[what].x86)
            except NoExitError:
                return f"no exit, {time.process_time() - busy:.1f} s of CPU"
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            return "EFAULT" if isinstance(end, Fault) else str(end)


def main() -> int:
    signal.signal(signal.SIGALRM, no_exit)
    failed = 0
    for machine, what in product(MACHINES, PROGRAMS):
        end = touch(machine, what)
        if end.startswith("no exit") if (machine, what) == SPINS else end == "EFAULT":
            print(f"{machine}: {what}: {end}", flush=True)
        else:
            print(f"{machine}: {what}: {end}, which is not what the documentation says", flush=True)
            failed = 1
    return failed


sys.exit(main())
