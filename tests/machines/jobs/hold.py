"""Holds a virtual machine of KVM open.

The first of all and the last to go have the kernel patch its own code, and QEMU's emulator, with a thread a processor,
jumps into the middle of that now and then.
"""

import signal

from daxmap.kvm import Vm

with Vm("2MiB"):
    signal.pause()
