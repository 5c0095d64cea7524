"""Programs of a guest that means harm, like those of `daxmap.guest`."""

from daxmap.guest import Program, arm64, x86
from support.host import PAGE


def report(value: int) -> Program:
    """Report a value and end: what a file may hold for the guest to execute."""
    return Program(
        x86=b"\xb8" + x86.imm32(value) + x86.REPORT_AND_HALT,  # mov eax, value
        arm64=arm64.mov32(0, value) + arm64.REPORT_AND_END,
    )


def jump(address: int) -> Program:
    """Execute what lies at an address."""
    return Program(
        x86=b"\xb8" + x86.imm32(address) + b"\xff\xe0",  # mov eax, address; jmp eax
        arm64=arm64.mov32(1, address) + arm64.code(0xD61F_0020),  # br x1
    )


def loop() -> Program:
    """Go round for ever."""
    return Program(
        x86=b"\xeb\xfe",  # here: jmp here
        arm64=arm64.code(0x1400_0000),  # here: b here
    )


def slide(length: int) -> Program:
    """So many bytes of instructions that do nothing, with nothing after them."""
    return Program(
        x86=b"\x90" * length,  # nop
        arm64=arm64.code(0xD503_201F) * (length // 4),  # nop
    )


def add(address: int, value: int) -> Program:
    """Add to a word in memory so that no other CPU sees it half done: a load and a store in one."""
    return Program(
        x86=b"\xbf" + x86.imm32(address) + b"\xf0\x81\x07" + x86.imm32(value) + b"\xf4",  # lock add dword [edi], value
        arm64=b"".join(
            (
                arm64.mov32(1, address),
                arm64.mov32(2, value),
                arm64.code(
                    # again:
                    0x885F_7C20,  # ldxr w0, [x1]
                    0x0B02_0000,  # add w0, w0, w2
                    0x8803_7C20,  # stxr w3, w0, [x1]
                    0x35FF_FFA3,  # cbnz w3, again
                ),
                arm64.END,
            )
        ),
    )


def push(address: int) -> Program:
    """Use the word below an address as the stack."""
    return Program(
        x86=b"\xbc" + x86.imm32(address) + b"\x50\xf4",  # mov esp, address; push eax
        arm64=b"".join(
            (
                arm64.mov32(1, address),
                arm64.code(
                    0x9100_003F,  # mov sp, x1
                    0xB81F_CFE0,  # str w0, [sp, -4]!
                ),
                arm64.END,
            )
        ),
    )


def fill(address: int, length: int) -> Program:
    """Store all over a range, upwards: on x86 by one string instruction."""
    return Program(
        x86=b"".join(
            (
                b"\xbf" + x86.imm32(address),  #      mov edi, address
                b"\xb9" + x86.imm32(length // 4),  #  mov ecx, words
                b"\xb8\xff\xff\xff\xff",  #           mov eax, -1
                b"\xfc\xf3\xab\xf4",  #               cld; rep stosd; hlt
            )
        ),
        arm64=b"".join(
            (
                arm64.mov32(1, address),
                arm64.mov32(2, length // 4),
                arm64.mov32(0, 0xFFFF_FFFF),
                arm64.code(
                    # next:
                    0xB900_0020,  # str w0, [x1]
                    0x9100_1021,  # add x1, x1, 4
                    0x7100_0442,  # subs w2, w2, 1
                    0x54FF_FFA1,  # b.ne next
                ),
                arm64.END,
            )
        ),
    )


def watch(address: int, pages: int, expected: int, beat: int) -> Program:
    """Read the first word of each page for ever, and add 1 to the word at `beat` each time round.

    Whatever else than the expected word it finds it reports, and ends.
    """
    return Program(
        x86=_watch_x86(address, pages, expected, beat),
        arm64=b"".join(
            (
                arm64.mov32(4, expected),
                arm64.mov32(2, beat),
                # start:
                arm64.mov32(1, address),
                arm64.mov32(3, pages),
                arm64.code(
                    # body:
                    0xB940_0020,  #                      ldr w0, [x1]
                    0x6B04_001F,  #                      cmp w0, w4
                    0x5400_0101,  #                      b.ne other
                    0x9140_0021 | PAGE >> 12 << 10,  #   add x1, x1, PAGE
                    0x7100_0463,  #                      subs w3, w3, 1
                    0x54FF_FF61,  #                      b.ne body
                    0xB940_0040,  #                      ldr w0, [x2]
                    0x1100_0400,  #                      add w0, w0, 1
                    0xB900_0040,  #                      str w0, [x2]
                    0x17FF_FFF3,  #                      b start
                ),
                # other:
                arm64.REPORT_AND_END,
            )
        ),
    )


def _watch_x86(address: int, pages: int, expected: int, beat: int) -> bytes:
    body = b"".join(
        (
            b"\x8b\x06",  #                         mov eax, [esi]
            b"\x39\xd8",  #                         cmp eax, ebx
            b"\x75\x0d",  #                         jne other
            b"\x81\xc6" + x86.imm32(PAGE),  #       add esi, PAGE
            b"\x49",  #                             dec ecx
            b"\x75\xf1",  #                         jnz body
            b"\xff\x07",  #                         inc dword [edi]
        )
    )
    start = b"\xbe" + x86.imm32(address) + b"\xb9" + x86.imm32(pages)  # mov esi, address; mov ecx, pages
    again = b"\xeb" + (256 - len(start) - len(body) - 2).to_bytes(1, "little")  # jmp start
    other = x86.REPORT_AND_HALT
    return b"\xbb" + x86.imm32(expected) + b"\xbf" + x86.imm32(beat) + start + body + again + other  # mov ebx, edi


def tally(address: int) -> Program:
    """Store 1, 2, 3 and so on at an address for ever, and load each again. What else it finds it reports, and ends."""
    body = b"".join(
        (
            b"\x43",  #          inc ebx
            b"\x89\x1f",  #      mov [edi], ebx
            b"\x8b\x07",  #      mov eax, [edi]
            b"\x39\xd8",  #      cmp eax, ebx
        )
    )
    again = b"\x74" + (256 - len(body) - 2).to_bytes(1, "little")  # je body
    start = b"\x31\xdb\xbf" + x86.imm32(address)  # xor ebx, ebx; mov edi, address
    return Program(
        x86=start + body + again + x86.REPORT_AND_HALT,
        arm64=b"".join(
            (
                arm64.mov32(1, address),
                arm64.code(
                    0x5280_0002,  # mov w2, 0
                    # body:
                    0x1100_0442,  # add w2, w2, 1
                    0xB900_0022,  # str w2, [x1]
                    0xB940_0020,  # ldr w0, [x1]
                    0x6B02_001F,  # cmp w0, w2
                    0x54FF_FF80,  # b.eq body
                ),
                arm64.REPORT_AND_END,
            )
        ),
    )
