"""KVM_GET_DIRTY_LOG: which pages of a memory slot the guest has stored to."""

import ctypes
import fcntl
import struct

from daxmap.kvm import Vm
from support.host import PAGE

_GET_DIRTY_LOG = 0x4010_AE42
"""`_IOW(KVMIO, 0x42, struct kvm_dirty_log)` of include/uapi/linux/kvm.h."""
_WORD = 64


def take_dirty_pages(vm: Vm, slot: int, size: int) -> set[int]:
    """The numbers of the pages stored to since the last time. ENOENT where the slot keeps no log, or is not there."""
    bitmap = (ctypes.c_uint64 * -(-size // PAGE // _WORD))()
    fcntl.ioctl(vm, _GET_DIRTY_LOG, struct.pack("<IIQ", slot, 0, ctypes.addressof(bitmap)))
    return {word * _WORD + bit for word, bits in enumerate(bitmap) for bit in range(_WORD) if bits >> bit & 1}
