"""Whether Hypervisor.framework lets this program have a VM.

The codes are those of Apple's hv_error.h.
"""

import ctypes
from pathlib import Path

from daxmap import HvfBackend
from daxmap.doctor.fact import Fact, ok, told, warn

__all__ = ["hvf"]

_FRAMEWORK = "/System/Library/Frameworks/Hypervisor.framework/Hypervisor"
_DENIED = 0xFAE9_4007


def hvf(framework: str | Path = _FRAMEWORK) -> Fact:
    """Make a VM, as a VMM would, and destroy it. A process has one VM at most: it must have none.

    Args:
        framework: path of the library.
    """
    name = "Hypervisor.framework"
    try:
        HvfBackend(framework=framework)
        library = ctypes.CDLL(str(framework))
    except OSError as error:
        return warn(name, told(error), "update macOS: Apple silicon has it from macOS 11 on")
    code = library.hv_vm_create(None) % (1 << 32)
    if code == 0:
        library.hv_vm_destroy()
        return ok(name, "a VM was made")
    if code == _DENIED:
        detail = "this Python lacks the entitlement com.apple.security.hypervisor (HV_DENIED)"
        return warn(name, detail, 'sign it: docs/how-to/macos.md, "The entitlement"')
    return warn(name, f"hv_vm_create returned {code:#x}", 'docs/how-to/macos.md, "Return codes", says what that means')
