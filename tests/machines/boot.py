"""One run of a machine, from QEMU's start to its end."""

import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from emulation.cpio import folder_entry, tree_entries, write_archive
from emulation.kernels import Kernel
from emulation.processes import GoneError, HangError, Process
from emulation.qemu import Qemu
from machines.kinds import Kind

MEMORY = "4G"
_ENDED = re.compile(r"the job has ended with status (\d+)")


class DiedError(Exception):
    """The machine came to its end before the job did."""


def write_root(target: Path, system: Path, kernel: Kernel, load: Path) -> None:
    """Write the archive that the kernel unpacks as its root."""
    with target.open("wb") as archive:
        with system.open("rb") as made:
            shutil.copyfileobj(made, archive, 1 << 20)
        drivers = (folder_entry("modules"), *tree_entries(kernel.modules, "modules/"))
        write_archive(archive, (*drivers, *tree_entries(load)))


def machine(kind: Kind, qemu: Qemu, kernel: Kernel, root: Path) -> list[str]:
    """The command that starts it. Its console is the command's standard output."""
    command = [*qemu.command, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"]
    command += ["-machine", kind.machine, "-cpu", kind.cpu, "-accel", "tcg,thread=multi,tb-size=512"]
    command += ["-smp", "2", "-m", MEMORY, "-kernel", str(kernel.image), "-initrd", str(root)]
    return [*command, "-append", f"console={kind.console} quiet panic=-1 {kind.append}"]


def run_job(command: Sequence[str], qemu: Qemu, folder: Path, limit: float) -> int:
    """Boot, print what the job prints, and return its exit status.

    Raises:
        DiedError: The machine died, or the limit, in seconds, has passed.
    """
    deadline = time.monotonic() + limit
    with Process("machine", command, folder, qemu.environment) as process:
        status = None
        try:
            while status is None:
                line = process.line(deadline)
                ended = _ENDED.search(line)
                if ended is None:
                    print(f"  {line}", flush=True)
                else:
                    status = int(ended[1])
        except GoneError:
            raise DiedError("the machine died") from None
        except HangError:
            raise DiedError(f"the machine was not done after {limit:.0f} s") from None
    return status
