"""The guest's whole system: busybox, an init script, the agent and the drivers, in a cpio archive."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from debian_packages.apt import Apt, unpack
from debian_packages.cache import made_once
from debian_packages.skipping import SkippedError, need_program
from emulation.cpio import folder_entry, program_entry, tree_entries, write_archive
from emulation.kernels import Kernel

HERE = Path(__file__).parent
STATIC = ("-static",)
"""Of a program of the guest, which has no libraries."""


def get_busybox(apt: Apt, cache: Path) -> Path:
    """A static busybox, fetched at the first call."""
    made = made_once(cache / "busybox", lambda making: unpack(apt.fetch_alone("busybox-static"), making))
    return made / "usr/bin/busybox"


def build_agent(folder: Path) -> Path:
    """The program that acts for the checks in the guest."""
    return build_program(folder / "agent", [HERE / "agent.c"], STATIC)


def build_program(program: Path, sources: Sequence[Path], flags: Sequence[str]) -> Path:
    """Compile a program of ours."""
    compiler = need_program("cc", "which compiles the guest's program", "gcc libc6-dev")
    command = [compiler, "-Wall", "-Wextra", "-Werror", "-O2", *flags, "-o", str(program), *map(str, sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    if "cannot find -lc" in done.stderr:
        raise SkippedError("no static C library for the guest's program (apt install libc6-dev)")
    if done.returncode != 0:
        raise RuntimeError(f"{sources[0].name} does not compile:\n{done.stderr}")
    return program


def build_initramfs(target: Path, kernel: Kernel, busybox: Path, *programs: Path) -> None:
    """Write the archive that the kernel unpacks as its root, with the agent and other programs."""
    with target.open("wb") as archive:
        write_archive(
            archive,
            (
                *(folder_entry(name) for name in ("bin", "modules")),
                program_entry("init", HERE / "init.sh"),
                *(program_entry(program.name, program) for program in programs),
                program_entry("bin/busybox", busybox),
                *tree_entries(kernel.modules, "modules/"),
            ),
        )
