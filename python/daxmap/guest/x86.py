"""The programs as x86 machine code for flat 32-bit protected mode without paging.

Every segment is based at 0 and is 4 GiB long, so an address in a program *is* the guest physical address. Encodings are
those of the Intel SDM, volume 2 ("Instruction Set Reference"). Numbers are checked by `daxmap.guest`: they fit in 32
bits.
"""

REPORT_PORT = 0x10
"""The I/O port to which a program for x86 writes each 32-bit value that it reports."""

REPORT_AND_HALT = b"".join(
    (
        b"\xe7" + bytes([REPORT_PORT]),  # out REPORT_PORT, eax
        b"\xf4",  #                        hlt
    )
)


def load(address: int) -> bytes:
    """See `daxmap.guest.load`."""
    return b"".join(
        (
            b"\xbe" + imm32(address),  # mov esi, address
            b"\x8b\x06",  #              mov eax, [esi]
            REPORT_AND_HALT,
        )
    )


def store(address: int, value: int) -> bytes:
    """See `daxmap.guest.store`."""
    return b"".join(
        (
            b"\xbf" + imm32(address),  # mov edi, address
            b"\xb8" + imm32(value),  #   mov eax, value
            b"\x89\x07",  #              mov [edi], eax
            b"\xf4",  #                  hlt
        )
    )


def copy(source: int, target: int, words: int) -> bytes:
    """See `daxmap.guest.copy`."""
    return b"".join(
        (
            b"\xbe" + imm32(source),  # mov esi, source
            b"\xbf" + imm32(target),  # mov edi, target
            b"\xb9" + imm32(words),  #  mov ecx, words
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


def checksum(address: int, words: int) -> bytes:
    """See `daxmap.guest.checksum`."""
    return b"".join(
        (
            b"\xbe" + imm32(address),  # mov esi, address
            b"\xb9" + imm32(words),  #   mov ecx, words
            b"\x31\xc0",  #              xor eax, eax
            # next:
            b"\x03\x06",  #     add eax, [esi]
            b"\x83\xc6\x04",  # add esi, 4
            b"\x49",  #         dec ecx
            b"\x75\xf8",  #     jnz next         8 bytes back
            REPORT_AND_HALT,
        )
    )


def imm32(value: int) -> bytes:
    """`value` as a 32-bit immediate operand: four bytes, little endian."""
    return value.to_bytes(4, "little")
