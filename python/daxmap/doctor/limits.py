"""What the kernel limits: memory areas, private memory, descriptors, addresses.

Formats and meanings: Documentation/admin-guide/sysctl/vm.rst, Documentation/mm/overcommit-accounting.rst, getrlimit(2),
and proc_pid_statm(5).
"""

import mmap
import resource
from collections.abc import Iterator
from pathlib import Path

from daxmap.doctor.fact import Fact, ok, told, warn
from daxmap.sizes import rough_size

__all__ = ["max_map_count", "overcommit", "resource_limits"]

_DEFAULT_MAX_MAP_COUNT = 65_530
_VMAS_A_MAPPING = 2  # in a host window: itself, and the hole beside it
_RANGE = 2 << 20  # what a Linux guest maps at once
_NEVER = 2  # vm.overcommit_memory: no more than the commit limit

_FEW_FILES = 1024
_FEWEST_FILES = 128  # a FileServer takes a half, and no fewer than 64
# The field of proc_pid_statm(5) that says in pages how much is used, ulimit's option, and what is refused at the limit.
_MEMORY = {
    "RLIMIT_DATA": (5, "-d", "read-only mappings of a hypervisor backend are private memory, and past it are ENOMEM"),
    "RLIMIT_AS": (0, "-v", "a window takes its size in addresses, and past it a mapper is ENOMEM"),
}


def max_map_count(proc: str = "/proc") -> Fact:
    """How many mappings guests may have: the budget is half of vm.max_map_count.

    Args:
        proc: where procfs is mounted.
    """
    name, remedy = "vm.max_map_count", f"sudo sysctl vm.max_map_count={_DEFAULT_MAX_MAP_COUNT}"
    try:
        areas = _number(proc, "max_map_count")
    except (OSError, ValueError) as error:
        return _unreadable(name, error, f"daxmap takes it for {_DEFAULT_MAX_MAP_COUNT}")
    mappings = areas // 2 // _VMAS_A_MAPPING
    detail = (
        f"{areas}: room for {mappings} mappings in the host windows of a process, or {rough_size(mappings * _RANGE)} in"
        " the ranges of 2 MiB that a Linux guest maps"
    )
    if areas < _DEFAULT_MAX_MAP_COUNT:
        return warn(name, f"{detail}; beyond it a setup is ENOSPC", remedy)
    return ok(name, detail)


def overcommit(proc: str = "/proc") -> Fact:
    """Whether the kernel refuses private memory that nobody has used yet.

    Args:
        proc: where procfs is mounted.
    """
    name = "vm.overcommit_memory"
    try:
        mode = _number(proc, "overcommit_memory")
    except (OSError, ValueError) as error:
        return _unreadable(name, error, "if it is 2, setups of a hypervisor backend may be ENOMEM")
    if mode == _NEVER:
        return warn(
            name,
            "2: read-only mappings of a hypervisor backend count as private memory, and past the commit limit a setup"
            " is ENOMEM; host windows don't count",
            "sudo sysctl vm.overcommit_memory=0, or raise vm.overcommit_ratio",
        )
    return ok(name, f"{mode}: large mappings are not refused for their size")


def resource_limits(proc: str = "/proc") -> Iterator[Fact]:
    """The limits of setrlimit(2) that matter.

    Args:
        proc: where procfs is mounted. Without it, nothing is said of how much is used.
    """
    for name in ("RLIMIT_NOFILE", "RLIMIT_MEMLOCK", "RLIMIT_DATA", "RLIMIT_AS"):
        try:
            soft, hard = resource.getrlimit(getattr(resource, name))
        except OSError as error:
            yield warn(name, f"is not known: {told(error)}", "let the sandbox allow prlimit64")
            continue
        if soft == resource.RLIM_INFINITY:
            yield ok(name, "unlimited")
        elif name == "RLIMIT_NOFILE":
            yield _files(name, soft, hard)
        elif name == "RLIMIT_MEMLOCK":
            yield _locked_memory(name, soft)
        else:
            yield _memory(name, soft, proc)


def _files(name: str, soft: int, hard: int) -> Fact:
    remedy = "raise it: `ulimit -n 65536`, or LimitNOFILE= of a systemd unit"
    if soft < _FEWEST_FILES:
        return warn(name, f"{soft}: a FileServer needs {_FEWEST_FILES}, unless it is told its max_open", remedy)
    most = "unlimited" if hard == resource.RLIM_INFINITY else hard
    detail = (
        f"{soft} (hard limit: {most}): a FileServer has at most {soft // 2} files open, {soft // 4} of them opened by"
        " its guest; `daxmap serve` takes the hard limit"
    )
    return warn(name, detail, remedy) if soft < _FEW_FILES else ok(name, detail)


def _locked_memory(name: str, soft: int) -> Fact:
    """It has no warning: the usual limit is low, and does no harm to those who don't call mlockall."""
    detail = f"{rough_size(soft)}: under mlockall(MCL_FUTURE) a window can be no larger, unless CAP_IPC_LOCK is held"
    return ok(name, detail)


def _memory(name: str, soft: int, proc: str) -> Fact:
    field, option, broken = _MEMORY[name]
    try:
        used = int(Path(proc, "self", "statm").read_text().split()[field]) * mmap.PAGESIZE
    except (OSError, ValueError, IndexError):
        left = ""
    else:
        left = f", {rough_size(max(soft - used, 0))} left"
    return warn(name, f"{rough_size(soft)}{left}: {broken}", f"`ulimit {option} unlimited`, before the VMM starts")


def _number(proc: str, name: str) -> int:
    return int(Path(proc, "sys", "vm", name).read_text())


def _unreadable(name: str, error: OSError | ValueError, so: str) -> Fact:
    detail = told(error) if isinstance(error, OSError) else str(error)
    return warn(name, f"{detail}: {so}", "mount /proc, with its directory sys")
