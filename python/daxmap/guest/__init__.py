"""Programs for a guest, which `daxmap.kvm.Vm` and `daxmap.unicorn.UnicornVm` run.

Each function gives a `Program`, which holds the machine code of every CPU that a machine of these can have: a VMM that
uses them is the same on every host. An address in a program is a guest physical address. A program uses registers
only, which it sets before it reads them: no stack, and no data of its own.

| module  | its code is for                                         | it reports to    | it ends                     |
|---------|---------------------------------------------------------|------------------|-----------------------------|
| `x86`   | flat 32-bit protected mode without paging               | `REPORT_PORT`    | with HLT                    |
| `arm64` | EL1 in AArch64 state, each address translated to itself | `REPORT_ADDRESS` | with a store to END_ADDRESS |

An address or value must fit in 32 bits: OverflowError otherwise. Some KVM hosts emulate a guest without paging, at some
2 million instructions a second: a copy of 64 KiB took 50 ms there. Keep ranges below a MiB.
"""

from dataclasses import dataclass
from mmap import PAGESIZE

from daxmap.checks import check_type
from daxmap.guest import arm64, x86
from daxmap.guest.arm64 import END_ADDRESS, REPORT_ADDRESS
from daxmap.guest.x86 import REPORT_PORT
from daxmap.sizes import size_in_bytes

__all__ = [
    "END_ADDRESS",
    "ENTRY",
    "REPORT_ADDRESS",
    "REPORT_PORT",
    "WORD",
    "Program",
    "checksum",
    "copy",
    "load",
    "store",
]

ENTRY = 0x1000
"""Guest physical address at which a program is put and begins. What is below it belongs to the machine."""

WORD = 4
"""Bytes that one load or store of these programs moves."""

_REACH = 1 << 32


@dataclass(frozen=True, slots=True)
class Program:
    """A program, as machine code of each CPU that may run it. A machine takes the code of its own CPU."""

    x86: bytes
    """For `daxmap.unicorn.UnicornVm`, and `daxmap.kvm.Vm` on x86-64."""
    arm64: bytes
    """For `daxmap.kvm.Vm` on aarch64: little-endian words."""


def load(address: int) -> Program:
    """A program that loads the 32-bit word at guest physical `address` and reports it."""
    _check_32_bits(address=address)
    return Program(x86.load(address), arm64.load(address))


def store(address: int, value: int) -> Program:
    """A program that stores the 32-bit `value` at guest physical `address`."""
    _check_32_bits(address=address, value=value)
    return Program(x86.store(address, value), arm64.store(address, value))


def copy(source: int, target: int, length: int) -> Program:
    """A program that copies `length` bytes from `source` to `target`, word by word, by load and store.

    Both are guest physical addresses; `length` is in bytes.

    Raises:
        ValueError: if `length` is not a positive multiple of 4.
    """
    words = _words(length)
    _check_32_bits(source=source, target=target, length=words)
    return Program(x86.copy(source, target, words), arm64.copy(source, target, words))


def checksum(address: int, length: int) -> Program:
    """A program that reads `length` bytes from `address` on and reports the sum of their words, modulo 2**32.

    `address` is a guest physical address; `length` is in bytes.

    Raises:
        ValueError: if `length` is not a positive multiple of 4.
    """
    words = _words(length)
    _check_32_bits(address=address, length=words)
    return Program(x86.checksum(address, words), arm64.checksum(address, words))


def ram_in_bytes(ram_size: int | str) -> int:
    """The size of a machine's RAM, from an int or text such as "2MiB".

    Raises:
        TypeError: It is neither.
        ValueError: It is not a positive multiple of the host's page size, or more than 4 GiB.
    """
    size = size_in_bytes("ram_size", ram_size)
    if not size or size % PAGESIZE:
        raise ValueError(f"ram_size: {size} is not a positive multiple of {PAGESIZE}, the page size")
    if size > _REACH:
        raise ValueError(f"ram_size: {size} is more than {_REACH}, which is as far as a program's addresses reach")
    return size


def check_code(code: object, ram_size: int) -> bytes:
    """Check that a machine can run machine code, and give it back.

    Raises:
        TypeError: It is not bytes.
        ValueError: It does not fit into so much RAM.
    """
    if not isinstance(code, bytes):
        raise TypeError(f"program: {type(code).__name__} is neither a Program nor bytes: see daxmap.guest")
    if ENTRY + len(code) > ram_size:
        raise ValueError(f"program: {len(code)} bytes from {ENTRY:#x} on don't fit into {ram_size} bytes of RAM")
    return code


def _check_32_bits(**numbers: int) -> None:
    for name, value in numbers.items():
        check_type(name, value, int)
        if not 0 <= value < _REACH:
            raise OverflowError(f"{name}: {value:#x} is not in the range 0 to 0xffffffff: programs are for 32 bits")


def _words(length: int) -> int:
    # A count of 0 would be decremented to 2**32 - 1 before it is tested.
    if length <= 0 or length % WORD:
        raise ValueError(f"length {length} is not a positive multiple of {WORD} bytes")
    return length // WORD
