"""KVM's calls on the device and on a machine.

Numbers and layouts are those of the kernel's include/uapi/linux/kvm.h on x86-64 and arm64; what the calls do is in
Documentation/virt/kvm/api.rst.
"""

import errno
import fcntl
import struct
from io import FileIO
from typing import TYPE_CHECKING

from daxmap.checks import check_type

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

KVM_GET_VCPU_MMAP_SIZE = 0xAE04
KVM_CREATE_VCPU = 0xAE41

KVM_MEM_LOG_DIRTY_PAGES = 1 << 0
"""Flag of a memory slot: KVM notes which pages the guest writes, and KVM_GET_DIRTY_LOG (api.rst 4.8) tells them."""
KVM_MEM_READONLY = 1 << 1
"""Flag of a memory slot: a store of the guest's is an MMIO exit. KVM must have `KVM_CAP_READONLY_MEM`."""

KVM_CAP_USER_MEMORY = 3
"""Capability: memory of the VMM's can be put into memory slots."""
KVM_CAP_NR_MEMSLOTS = 10
"""Capability: how many memory slots a machine may have; their numbers are below it."""
KVM_CAP_SYNC_MMU = 16
"""Capability: a guest sees at once what is mapped anew in the VMM's memory."""
KVM_CAP_READONLY_MEM = 81
"""Capability: memory slots may be `KVM_MEM_READONLY`."""

_CAP_ARM_VM_IPA_SIZE = 165

_GET_API_VERSION = 0xAE00
_CREATE_VM = 0xAE01
_CHECK_EXTENSION = 0xAE03
_SET_USER_MEMORY_REGION = 0x4020AE46

_API_VERSION = 12
_MEMORY_REGION = struct.Struct("<IIQQQ")  # slot, flags, guest_phys_addr, memory_size, userspace_addr


def check_api_version(kvm_fd: "FileDescriptorLike") -> None:
    """Check that KVM speaks the one version of its interface that is in use (KVM_GET_API_VERSION, api.rst 4.1).

    Args:
        kvm_fd: /dev/kvm: an int or an object with `fileno()`.

    Raises:
        OSError: ENOTSUP: it is another version. ENOTTY: that is not KVM. EBADF: it is not open.
    """
    version = fcntl.ioctl(kvm_fd, _GET_API_VERSION)
    if version != _API_VERSION:
        raise OSError(errno.ENOTSUP, f"KVM has API version {version}, not {_API_VERSION}")


def capability(fd: "FileDescriptorLike", number: int) -> int:
    """What KVM says of a capability (KVM_CHECK_EXTENSION, api.rst 4.4): 0 if it lacks it, else 1 or how much.

    Args:
        fd: /dev/kvm or, for what this one machine has, a machine: an int or an object with `fileno()`.
        number: KVM_CAP_* of linux/kvm.h. A number that KVM does not know is 0.

    Raises:
        OSError: ENOTTY: that is not KVM. EBADF: it is not open.
    """
    check_type("number", number, int)  # fcntl.ioctl would take text for a buffer
    return fcntl.ioctl(fd, _CHECK_EXTENSION, number)


def create_vm(kvm_fd: "FileDescriptorLike") -> FileIO:
    """Make a machine, with as many bits of guest addresses as it can have (KVM_CREATE_VM, api.rst 4.2).

    Args:
        kvm_fd: /dev/kvm: an int or an object with `fileno()`.

    Raises:
        OSError: errno of KVM_CREATE_VM.
    """
    # On arm64 a type of 0 is 40 bits, which not every CPU has: on Apple's M1, with 36, it is EINVAL. Elsewhere KVM does
    # not know this capability, and says 0, the default type.
    return open_by_ioctl(kvm_fd, _CREATE_VM, capability(kvm_fd, _CAP_ARM_VM_IPA_SIZE))


def set_memory_region(  # noqa: PLR0913  (the kernel's struct has as many fields)
    vm_fd: "FileDescriptorLike", slot: int, guest_address: int, size: int, host_address: int, *, flags: int = 0
) -> None:
    """Put memory of this process into a memory slot of a machine (KVM_SET_USER_MEMORY_REGION, api.rst 4.35).

    As long as the slot is there, the guest sees whatever lies at these host addresses: delete it, with a `size` of 0,
    before they are unmapped. `KvmBackend` does both for the window of a mapper; for one of `HostWindowBackend` the host
    address is `mapper.host_address`.

    Args:
        vm_fd: The machine: an int or an object with `fileno()`.
        slot: Number of the slot, below `KVM_CAP_NR_MEMSLOTS`; the address space is in bits 16 to 31. One that is there
            may be moved in the guest and change its `KVM_MEM_LOG_DIRTY_PAGES`, and else be deleted only.
        guest_address: Guest physical address, a multiple of the page size.
        size: Bytes, a multiple of the page size; 0 deletes the slot.
        host_address: Where the memory is in this process, a multiple of the page size. A hole there is EFAULT from
            KVM_RUN, or an MMIO exit, when the guest touches it.
        flags: `KVM_MEM_READONLY`, `KVM_MEM_LOG_DIRTY_PAGES`, both, or 0.

    Raises:
        OSError: EINVAL: an address or size is no multiple of the page size, or not one that a process or guest can
            have; KVM has no such slot or flag; the slot is to be deleted and is not there, or cannot change like that.
            EEXIST: another slot has a part of these guest addresses. ENOMEM: the kernel has no memory for it. EIO: the
            machine is another process's. ENOTTY: that is no machine. EBADF: it is not open.
        OverflowError: A number does not fit into its field: 32 bits for `slot` and `flags`, 64 for the others.
    """
    numbers = {"slot": slot, "guest_address": guest_address, "size": size, "host_address": host_address, "flags": flags}
    for name, value in numbers.items():
        check_type(name, value, int)
    try:
        region = _MEMORY_REGION.pack(slot, flags, guest_address, size, host_address)
    except struct.error as error:
        raise OverflowError(f"a number does not fit into struct kvm_userspace_memory_region: {error}") from None
    fcntl.ioctl(vm_fd, _SET_USER_MEMORY_REGION, region)


def open_by_ioctl(fd: "FileDescriptorLike", request: int, argument: int) -> FileIO:
    """Make a descriptor by an ioctl. It is closed, with a ResourceWarning, when its owner is dropped.

    A signal handler may raise between any two bytecodes, so also between the call that makes a descriptor and the store
    of its number, which nobody would know then. So C code alone makes the descriptor and gives it an owner.
    """
    while True:
        try:
            return next(map(FileIO, map(fcntl.ioctl, (fd,), (request,), (argument,)), ("r+",)))
        except InterruptedError:  # KVM_CREATE_VM, by a signal; its handler has run
            continue
