"""All checks, in the order in which they are told."""

import os
import platform
from collections.abc import Iterator

from daxmap.doctor import host, hvf, kvm, limits, mapping, programs
from daxmap.doctor.fact import Fact

__all__ = ["examine"]


def examine(system: str | None = None) -> Iterator[Fact]:
    """What this host can do. What only another operating system has is left out.

    Args:
        system: the operating system, as `platform.system` names it; None for the one that this is.
    """
    system, machine = system or platform.system(), platform.machine()
    linux = system == "Linux"
    yield host.platform_fact(system, machine)
    main_job = mapping.mapping(system)
    yield main_job
    if main_job.state == "ok":
        yield mapping.copies(system)
    if linux:
        yield mapping.proc_fact()
        yield from kvm.kvm()
    elif system == "Darwin":
        yield hvf.hvf()
    yield host.page_size()
    if linux:
        yield limits.max_map_count()
        yield limits.overcommit()
    yield from limits.resource_limits()
    yield programs.unicorn()
    if linux:
        yield programs.qemu(machine, os.environ.get("PATH", os.defpath))
