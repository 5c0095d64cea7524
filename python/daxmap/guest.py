"""Programs for a guest: x86 machine code for flat 32-bit protected mode without paging.

`daxmap.kvm.Vm` and `daxmap.unicorn.UnicornVm` run them. Every segment is based at 0 and is 4 GiB long, so an address in
a program *is* the guest physical address. A program uses registers only, no stack and no data of its own, and ends with
HLT. What it wants to tell, it writes to `REPORT_PORT`. Encodings are those of the Intel SDM, volume 2 ("Instruction Set
Reference").

An address or value must fit in 32 bits: OverflowError otherwise. Some KVM hosts emulate a guest without paging, at some
2 million instructions a second: a copy of 64 KiB took 50 ms there. Keep ranges below a MiB.
"""

from mmap import PAGESIZE

from daxmap.checks import check_type
from daxmap.sizes import size_in_bytes

__all__ = ["ENTRY", "REPORT_PORT", "WORD", "checksum", "copy", "load", "store"]

ENTRY = 0x1000
"""Guest physical address at which a program is put and begins. Page 0 stays zero: a jump to NULL finds no program."""

REPORT_PORT = 0x10
"""The I/O port to which a program writes each 32-bit value that it reports."""

WORD = 4
"""Bytes that one load or store of these programs moves."""


def load(address: int) -> bytes:
    """A program that loads the 32-bit word at guest physical `address` and reports it."""
    return b"".join(
        (
            b"\xbe" + _imm32("address", address),  # mov esi, address
            b"\x8b\x06",  #               mov eax, [esi]
            _REPORT_AND_HALT,
        )
    )


def store(address: int, value: int) -> bytes:
    """A program that stores the 32-bit `value` at guest physical `address`."""
    return b"".join(
        (
            b"\xbf" + _imm32("address", address),  # mov edi, address
            b"\xb8" + _imm32("value", value),  #   mov eax, value
            b"\x89\x07",  #               mov [edi], eax
            b"\xf4",  #                   hlt
        )
    )


def copy(source: int, target: int, length: int) -> bytes:
    """A program that copies `length` bytes from `source` to `target`, word by word, by load and store.

    Both are guest physical addresses; `length` is in bytes.

    Raises:
        ValueError: if `length` is not a positive multiple of 4.
    """
    return b"".join(
        (
            b"\xbe" + _imm32("source", source),  #         mov esi, source
            b"\xbf" + _imm32("target", target),  #         mov edi, target
            b"\xb9" + _imm32("length", _words(length)),  # mov ecx, words
            # next:
            b"\x8b\x06",  #     mov eax, [esi]   the load
            b"\x89\x07",  #     mov [edi], eax   the store
            b"\x83\xc6\x04",  # add esi, 4
            b"\x83\xc7\x04",  # add edi, 4
            b"\x49",  #         dec ecx
            b"\x75\xf3",  #     jnz next         13 bytes back
            b"\xf4",  #         hlt
        )
    )


def checksum(address: int, length: int) -> bytes:
    """A program that reads `length` bytes from `address` on and reports the sum of their words, modulo 2**32.

    `address` is a guest physical address; `length` is in bytes.

    Raises:
        ValueError: if `length` is not a positive multiple of 4.
    """
    return b"".join(
        (
            b"\xbe" + _imm32("address", address),  #        mov esi, address
            b"\xb9" + _imm32("length", _words(length)),  # mov ecx, words
            b"\x31\xc0",  #                      xor eax, eax
            # next:
            b"\x03\x06",  #     add eax, [esi]
            b"\x83\xc6\x04",  # add esi, 4
            b"\x49",  #         dec ecx
            b"\x75\xf8",  #     jnz next         8 bytes back
            _REPORT_AND_HALT,
        )
    )


_REPORT_AND_HALT = b"".join(
    (
        b"\xe7" + bytes([REPORT_PORT]),  # out REPORT_PORT, eax
        b"\xf4",  #                        hlt
    )
)


def ram_in_bytes(ram_size: int | str) -> int:
    """The size of a machine's RAM, from an int or text such as "2MiB".

    Raises:
        TypeError: It is neither.
        ValueError: It is not a positive multiple of the host's page size.
    """
    size = size_in_bytes("ram_size", ram_size)
    if not size or size % PAGESIZE:
        raise ValueError(f"ram_size: {size} is not a positive multiple of {PAGESIZE}, the page size")
    return size


def check_program(program: object, ram_size: int) -> None:
    """Check that a machine can run a program.

    Raises:
        TypeError: It is not bytes.
        ValueError: It does not fit into so much RAM.
    """
    if not isinstance(program, bytes):
        raise TypeError(f"program: {type(program).__name__} is not bytes: see daxmap.guest")
    if ENTRY + len(program) > ram_size:
        raise ValueError(f"program: {len(program)} bytes from {ENTRY:#x} on don't fit into {ram_size} bytes of RAM")


def _imm32(name: str, value: int) -> bytes:
    """`value` as a 32-bit immediate operand: four bytes, little endian."""
    check_type(name, value, int)
    if not 0 <= value < 1 << 32:
        raise OverflowError(f"{name}: {value:#x} is not in the range 0 to 0xffffffff of this guest, which has 32 bits")
    return value.to_bytes(4, "little")


def _words(length: int) -> int:
    # A count of 0 would be decremented to 2**32 - 1 before it is tested.
    if length <= 0 or length % WORD:
        raise ValueError(f"length {length} is not a positive multiple of {WORD} bytes")
    return length // WORD
