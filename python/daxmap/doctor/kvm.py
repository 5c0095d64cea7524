"""Whether KVM can be used, and what it can do.

What the capabilities mean is in Documentation/virt/kvm/api.rst.
"""

import getpass
import grp
import os
import platform
import stat
from collections.abc import Callable, Iterator
from errno import EACCES, EBUSY, ENOENT, ENOTSUP, ENOTTY
from functools import partial
from pathlib import Path

from daxmap import DaxMapper, KvmBackend
from daxmap.doctor.fact import Fact, ok, told, warn
from daxmap.kvm.calls import (
    KVM_CAP_NR_MEMSLOTS,
    KVM_CAP_READONLY_MEM,
    KVM_CAP_SYNC_MMU,
    KVM_CAP_USER_MEMORY,
    capability,
    check_api_version,
    create_vm,
)

__all__ = ["capabilities", "kvm"]

_WITHOUT = "host windows, unicorn and `daxmap serve` work without it"
_OTHER_KERNEL = "use a host kernel whose KVM has it"
_WINDOW = 1 << 32, 2 << 20  # base and size


def kvm(device: str = "/dev/kvm", *, proc: str = "/proc") -> Iterator[Fact]:
    """Whether a machine can be made whose guest would see a window, and then what KVM is capable of.

    Args:
        device: path of the KVM device.
        proc: where procfs is mounted: its cpuinfo tells which module is missing.
    """
    name = "kvm"
    try:
        fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        yield warn(name, f"{told(error)}: {_WITHOUT}", _way_in(error, device, proc))
        return
    try:
        check_api_version(fd)
        _make_vm(fd)
        found = list(capabilities(partial(capability, fd)))
    except OSError as error:
        remedy = {
            ENOTSUP: "use another kernel",
            ENOTTY: f"{device} is no KVM device: look for what made it",
            EBUSY: "end the other hypervisor that has the CPU's virtualization, VirtualBox for one",
        }.get(error.errno or 0, "the kernel's log (`sudo dmesg`) may say more")
        yield warn(name, f"{device} opens, but no VM can be made: {told(error)}: {_WITHOUT}", remedy)
    else:
        yield ok(name, f"{device}: a VM with a window in a memory slot was made")
        yield from found
    finally:
        os.close(fd)


def capabilities(extension: Callable[[int], int]) -> Iterator[Fact]:
    """What KVM is capable of.

    Args:
        extension: KVM_CHECK_EXTENSION: what it answers to the number of a capability, 0 where KVM has it not.
    """
    for name, number, lost in (
        ("KVM_CAP_USER_MEMORY", KVM_CAP_USER_MEMORY, "no memory of the VMM can be shown to a guest"),
        ("KVM_CAP_SYNC_MMU", KVM_CAP_SYNC_MMU, "a guest would go on seeing what a window showed before"),
        (
            "KVM_CAP_READONLY_MEM",
            KVM_CAP_READONLY_MEM,
            "the window of a read-only share has no read-only slot: the mappings alone refuse stores",
        ),
    ):
        yield ok(name, "yes") if extension(number) else warn(name, f"no: {lost}", _OTHER_KERNEL)
    slots = extension(KVM_CAP_NR_MEMSLOTS)
    if slots:
        yield ok("KVM_CAP_NR_MEMSLOTS", f"{slots} memory slots a VM; a window takes one")
    else:
        yield warn("KVM_CAP_NR_MEMSLOTS", "the number of memory slots is not known", _OTHER_KERNEL)


def _make_vm(kvm: int) -> None:
    """Make a VM and show it a window: what a VMM does first."""
    base, size = _WINDOW
    with create_vm(kvm) as vm:
        DaxMapper(base, size, KvmBackend(vm.fileno(), 0)).close()


def _way_in(error: OSError, device: str, proc: str) -> str:
    """What to do about a device that does not open."""
    if error.errno == ENOENT:
        return _module(proc)
    try:
        status = Path(device).stat()
    except OSError:
        return f"give this process the right to open {device}"
    if error.errno != EACCES:
        return f"let the container or sandbox use {device}"
    return _group(device, status)


def _module(proc: str) -> str:
    """What makes the device appear: on x86-64 a module for this CPU, as its flags say (proc_cpuinfo(5))."""
    if platform.machine() == "aarch64":
        return (
            "KVM is built into aarch64's kernels, and needs one that was booted at EL2: `sudo dmesg | grep kvm` says"
            " more; in a VM, have it given nested virtualization; in a container, the device"
        )
    try:
        flags = set(Path(proc, "cpuinfo").read_text().split())
    except OSError:
        flags = set()
    for flag, module in (("vmx", "kvm_intel"), ("svm", "kvm_amd")):
        if flag in flags:
            return f"`sudo modprobe {module}`; in a container, have it given the device"
    return (
        "turn virtualization on in the firmware, or in the hypervisor that this runs under; in a container, have it"
        " given the device"
    )


def _group(device: str, status: os.stat_result) -> str:
    """How the rights of the device's group are got."""
    try:
        group = grp.getgrgid(status.st_gid)
        name, members = group.gr_name, group.gr_mem
    except KeyError:
        name, members = str(status.st_gid), []
    if status.st_mode & (stat.S_IRGRP | stat.S_IWGRP) != stat.S_IRGRP | stat.S_IWGRP or status.st_gid == 0:
        return f"no group may use it: `sudo chgrp kvm {device} && sudo chmod 660 {device}`, then join the group kvm"
    user = _user()
    if user in members:
        return f"log in again: {user} has joined the group {name} since"
    return f"`sudo usermod -aG {name} {user}`, then log in again"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name: the former is what it raises up to Python 3.12
        return "$USER"
