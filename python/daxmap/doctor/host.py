"""The platform and its pages."""

import mmap
import platform
import sysconfig

from daxmap import __version__
from daxmap.doctor.fact import Fact, ok, warn
from daxmap.sizes import rough_size

__all__ = ["page_size", "platform_fact"]

_TESTED = ("Linux", "x86_64")


def platform_fact(system: str, machine: str) -> Fact:
    """Say what daxmap runs on. Only what its tests run on is ok: README.md, "Where it runs".

    Args:
        system: the operating system, as `platform.system` names it.
        machine: the architecture, as `platform.machine` names it.
    """
    # Such an interpreter loads no extension module of the stable ABI: daxmap was built for it from its source then.
    threads = "free-threaded " if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
    python = f"{threads}{platform.python_implementation()} {platform.python_version()}"
    detail = f"{system} {platform.release()} on {machine}, {python}, daxmap {__version__}"
    if (system, machine) == _TESTED and not threads:
        return ok("platform", detail)
    return warn(
        "platform", f"{detail}: daxmap's tests don't run here", "see what `daxmap demo` says before you rely on it"
    )


def page_size() -> Fact:
    """The host's page size."""
    pages = rough_size(mmap.PAGESIZE)
    return ok("page size", f"{pages}: what is mapped starts and ends at multiples of it, in the file and in the window")
