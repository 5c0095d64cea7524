"""A small virtual machine over /dev/kvm, and the calls of KVM that a VMM makes by number.

`Vm` runs the programs of `daxmap.guest`, and `daxmap.exits` has the ways in which they end: to try daxmap, to test
with, and to learn from. It is no VMM for an operating system: one CPU, no interrupts, no devices. A VMM of your own
makes its memory slots with `set_memory_region`.

| module         | duty                                                                |
|----------------|---------------------------------------------------------------------|
| `calls`        | KVM's calls on the device and on a machine                          |
| `vcpu`         | one virtual CPU, and its ways out of the guest told apart           |
| `x86`, `arm64` | what of that an architecture has of its own                         |
| `arm64_start`  | registers and memory that an arm64 CPU finds when a program begins  |
| `vm`           | the machine: RAM, and a new virtual CPU when one is needed          |

`Vm` is for x86-64 and aarch64 hosts. The calls are Linux's, with the numbers of these two.
"""

from daxmap.kvm.calls import (
    KVM_CAP_NR_MEMSLOTS,
    KVM_CAP_READONLY_MEM,
    KVM_MEM_LOG_DIRTY_PAGES,
    KVM_MEM_READONLY,
    capability,
    check_api_version,
    set_memory_region,
)
from daxmap.kvm.vm import DEVICE, RAM_SLOT, Vm

__all__ = [
    "DEVICE",
    "KVM_CAP_NR_MEMSLOTS",
    "KVM_CAP_READONLY_MEM",
    "KVM_MEM_LOG_DIRTY_PAGES",
    "KVM_MEM_READONLY",
    "RAM_SLOT",
    "Vm",
    "capability",
    "check_api_version",
    "set_memory_region",
]
