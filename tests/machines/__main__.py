"""`make real-kvm`, `make arm64`, `make ppc64le`: daxmap's tests in an emulated machine.

What this machine lacks does not fail the run, but it is said. MACHINES=require makes it a failure. JOB=script is run
instead of the machine's own job, with `sh`, in the folder that has the tests.
"""

import os
import sys
import time
from pathlib import Path

from debian_packages.apt import Apt
from debian_packages.cache import CACHE, run_folder
from debian_packages.skipping import SkippedError, skipped
from emulation.kernels import get_kernel
from emulation.processes import end_what_was_started
from emulation.qemu import fetch_qemu, get_qemu
from linux_guest.system import set_up
from machines.boot import DiedError, machine, run_job, write_root
from machines.kinds import KINDS, Kind
from machines.load import make_load
from machines.system import HERE, get_system
from support.dist import DIST, build, is_fresh

LIMIT = 1800


def main(name: str) -> int:
    """The exit status is that of the job."""
    end_what_was_started()
    kind = KINDS[name]
    with run_folder(CACHE) as folder:
        try:
            return run(kind, folder)
        except SkippedError as reason:
            return skipped(reason, "MACHINES")


def run(kind: Kind, folder: Path) -> int:
    """Fetch what is not there yet, and run the job."""
    started = time.monotonic()
    host = Apt(CACHE / "apt")
    qemu = get_qemu(host, CACHE, kind.qemu)
    kept = set()
    if kind.has_linux_guest:
        kept = {fetch_qemu(host, CACHE, kind.qemu), *(path for guest in set_up(CACHE, folder) for path in guest.kept)}
    apt = Apt(CACHE / f"apt-{kind.architecture}", kind.architecture, [kind.release])
    kernel = get_kernel(apt, CACHE, kind.kernel, kind.release, kind.drivers)
    system = get_system(apt, CACHE, kind)
    apt.clean()
    job = Path(os.environ.get("JOB") or HERE / "jobs" / f"{kind.name}.sh")
    (load := folder / "brought").mkdir()
    make_load(load, kind, get_wheel(kind), job, kept)
    write_root(root := folder / "root.cpio", system, kernel, load)
    print(f"Linux {kernel.version}, QEMU {qemu.version}: there after {time.monotonic() - started:.0f} s", flush=True)
    started = time.monotonic()
    command = machine(kind, qemu, kernel, root)
    try:
        status = run_job(command, qemu, folder, LIMIT)
    except DiedError as error:
        # An emulator with a thread a processor dies now and then, of itself.
        print(f"{error}: once more", flush=True)
        status = run_job(command, qemu, folder, LIMIT)
    print(f"the job's exit status is {status}, after {time.monotonic() - started:.0f} s", flush=True)
    return status


def get_wheel(kind: Kind) -> Path:
    """The wheel of the stable ABI for the machine, built if there is none as new as the sources."""
    processor = kind.wheel.partition("-")[2]
    pattern = f"daxmap-*-abi3-manylinux*_{processor}.whl"
    if not any(is_fresh(wheel) for wheel in DIST.glob(pattern)):
        build(kind.wheel)
    return max(DIST.glob(pattern), key=lambda wheel: wheel.stat().st_mtime)


sys.exit(main(sys.argv[1]))
