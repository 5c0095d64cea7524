"""Files and addresses for tests with a guest that runs machine code."""

import os
import platform
from pathlib import Path

import pytest

from daxmap import DaxMapper
from daxmap.exits import Exit, Fault, Mmio
from daxmap.guest import Program
from daxmap.kvm import Vm
from support.host import PAGE

RAM_SIZE = 2 << 20
BASE = RAM_SIZE
SIZE = 64 << 20
FILE_SIZE = 4 * PAGE
MARK = 0x2158_4144


def open_vm() -> Vm:
    """A virtual machine with RAM below `BASE`. The test is skipped where KVM cannot be used."""
    try:
        return Vm(RAM_SIZE)
    except OSError as error:
        pytest.skip(f"KVM cannot be used: {error}")


def machine_code(program: Program) -> bytes:
    """What a KVM guest on this host executes."""
    return {"x86_64": program.x86, "aarch64": program.arm64}[platform.machine()]


def make_file(path: Path) -> bytes:
    content = os.urandom(FILE_SIZE)
    path.write_bytes(content)
    return content


def map_file(mapper: DaxMapper, path: Path, window_offset: int = 0, *, writable: bool = False) -> None:
    """Maps the whole file through an fd that is closed again when the mapping stands."""
    with path.open("r+b" if writable else "rb") as file:
        mapper.setup_mapping(file, 0, window_offset, FILE_SIZE, writable)


def checksum(content: bytes) -> int:
    return sum(word(content, offset) for offset in range(0, len(content), 4)) % 2**32


def word(content: bytes, offset: int = 0) -> int:
    return int.from_bytes(content[offset : offset + 4], "little")


def is_refusal(end: Exit, address: int, *, is_write: bool) -> bool:
    """EFAULT where the CPU runs the guest, an MMIO exit for that very access where KVM emulates it."""
    return end in (Fault(), Fault(address // PAGE * PAGE), Mmio(address, is_write))


def open_files(kind: str) -> int:
    """How many descriptors of the process are of this kind: "kvm-vm", "kvm-vcpu", or "kvm" for any."""
    links = (str(entry.readlink()) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink())
    return sum(kind in link for link in links)
