"""Programs of a guest that means harm: x86 machine code like that of `daxmap.guest`."""

from daxmap.guest import REPORT_PORT

_PAGE = 4096


def report(value: int) -> bytes:
    """Report a value and halt: what a file may hold for the guest to execute."""
    return b"\xb8" + _imm32(value) + _REPORT_AND_HALT  # mov eax, value


def jump(address: int) -> bytes:
    """Execute what lies at an address."""
    return b"\xb8" + _imm32(address) + b"\xff\xe0"  # mov eax, address; jmp eax


def slide(length: int) -> bytes:
    """So many bytes of instructions that do nothing, with nothing after them."""
    return b"\x90" * length


def add(address: int, value: int) -> bytes:
    """Add to a word in memory under the bus lock: a load and a store in one."""
    return b"\xbf" + _imm32(address) + b"\xf0\x81\x07" + _imm32(value) + b"\xf4"  # lock add dword [edi], value


def push(address: int) -> bytes:
    """Use the word below an address as the stack."""
    return b"\xbc" + _imm32(address) + b"\x50\xf4"  # mov esp, address; push eax


def fill(address: int, length: int) -> bytes:
    """Store all over a range, upwards, by one string instruction."""
    return b"".join(
        (
            b"\xbf" + _imm32(address),  #      mov edi, address
            b"\xb9" + _imm32(length // 4),  #  mov ecx, words
            b"\xb8\xff\xff\xff\xff",  #        mov eax, -1
            b"\xfc\xf3\xab\xf4",  #            cld; rep stosd; hlt
        )
    )


def watch(address: int, pages: int, expected: int, beat: int) -> bytes:
    """Read the first word of each page for ever, and add 1 to the word at `beat` each time round.

    Whatever else than the expected word it finds it reports, and halts.
    """
    body = b"".join(
        (
            b"\x8b\x06",  #                      mov eax, [esi]
            b"\x39\xd8",  #                      cmp eax, ebx
            b"\x75\x0d",  #                      jne other
            b"\x81\xc6" + _imm32(_PAGE),  #      add esi, 4096
            b"\x49",  #                          dec ecx
            b"\x75\xf1",  #                      jnz body
            b"\xff\x07",  #                      inc dword [edi]
        )
    )
    start = b"\xbe" + _imm32(address) + b"\xb9" + _imm32(pages)  # mov esi, address; mov ecx, pages
    again = b"\xeb" + (256 - len(start) - len(body) - 2).to_bytes(1, "little")  # jmp start
    other = _REPORT_AND_HALT
    return b"\xbb" + _imm32(expected) + b"\xbf" + _imm32(beat) + start + body + again + other  # mov ebx, edi


def tally(address: int) -> bytes:
    """Store 1, 2, 3 and so on at an address for ever, and load each again. What else it finds it reports, and halts."""
    body = b"".join(
        (
            b"\x43",  #          inc ebx
            b"\x89\x1f",  #      mov [edi], ebx
            b"\x8b\x07",  #      mov eax, [edi]
            b"\x39\xd8",  #      cmp eax, ebx
        )
    )
    again = b"\x74" + (256 - len(body) - 2).to_bytes(1, "little")  # je body
    return b"\x31\xdb\xbf" + _imm32(address) + body + again + _REPORT_AND_HALT  # xor ebx, ebx; mov edi, address


_REPORT_AND_HALT = b"\xe7" + bytes([REPORT_PORT]) + b"\xf4"  # out REPORT_PORT, eax; hlt


def _imm32(value: int) -> bytes:
    return value.to_bytes(4, "little")
