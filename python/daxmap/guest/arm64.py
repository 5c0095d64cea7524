"""The programs as arm64 machine code (A64), for EL1 with each address translated to itself.

KVM on arm64 has neither I/O ports nor an exit for a halt: a program reports, and ends, by a store to an address where
no memory is, which is an MMIO exit. Of such an access the CPU says what it is only if the instruction is a plain load
or store, without writeback (Arm ARM, "ISS encoding for an exception from a Data Abort", ISV). All accesses here are
like that, since any may find no memory. Encodings are those of the Arm ARM (DDI 0487), part C6. Numbers are checked
by `daxmap.guest`: they fit in 32 bits.
"""

import struct

REPORT_ADDRESS = 0x1_FFFF_0000
"""Guest physical address to which a program for arm64 stores each 32-bit value that it reports.

The loads and stores of `daxmap.guest` don't come here: their addresses have 32 bits. RAM does not reach here, and no
window may lie here: what programs report would go to its files, and they would not end.
"""

END_ADDRESS = REPORT_ADDRESS + 4
"""Guest physical address to which a program for arm64 stores 0 to end."""

EXCEPTION_ADDRESS = REPORT_ADDRESS + 8
"""Guest physical address to which `daxmap.kvm.Vm` has the guest store ESR_EL1 when it takes an exception."""


def code(*instructions: int) -> bytes:
    """Instructions, as they lie in memory."""
    return struct.pack(f"<{len(instructions)}I", *instructions)


def mov32(register: int, value: int) -> bytes:
    """Set a register to a 32-bit value; its upper half becomes 0."""
    return code(
        0x5280_0000 | (value & 0xFFFF) << 5 | register,  # movz w<register>, value & 0xffff
        0x72A0_0000 | value >> 16 << 5 | register,  #       movk w<register>, value >> 16, lsl 16
    )


X9_REPORT = code(
    0xD2C0_0029,  # movz x9, 0x1, lsl 32
    0xF2BF_FFE9,  # movk x9, 0xffff, lsl 16
)
END = X9_REPORT + code(0xB900_053F)  # str wzr, [x9, 4]
REPORT_AND_END = X9_REPORT + code(
    0xB900_0120,  # str w0, [x9]
    0xB900_053F,  # str wzr, [x9, 4]
)


def load(address: int) -> bytes:
    """See `daxmap.guest.load`."""
    return b"".join(
        (
            mov32(1, address),
            code(0xB940_0020),  # ldr w0, [x1]
            REPORT_AND_END,
        )
    )


def store(address: int, value: int) -> bytes:
    """See `daxmap.guest.store`."""
    return b"".join(
        (
            mov32(2, address),
            mov32(0, value),
            code(0xB900_0040),  # str w0, [x2]
            END,
        )
    )


def copy(source: int, target: int, words: int) -> bytes:
    """See `daxmap.guest.copy`."""
    return b"".join(
        (
            mov32(1, source),
            mov32(2, target),
            mov32(3, words),
            code(
                # next:
                0xB940_0020,  # ldr w0, [x1]     the load
                0xB900_0040,  # str w0, [x2]     the store
                0x9100_1021,  # add x1, x1, 4
                0x9100_1042,  # add x2, x2, 4
                0x7100_0463,  # subs w3, w3, 1
                0x54FF_FF61,  # b.ne next        5 instructions back
            ),
            END,
        )
    )


def checksum(address: int, words: int) -> bytes:
    """See `daxmap.guest.checksum`."""
    return b"".join(
        (
            mov32(1, address),
            mov32(3, words),
            mov32(0, 0),
            code(
                # next:
                0xB940_0022,  # ldr w2, [x1]
                0x0B02_0000,  # add w0, w0, w2
                0x9100_1021,  # add x1, x1, 4
                0x7100_0463,  # subs w3, w3, 1
                0x54FF_FF81,  # b.ne next        4 instructions back
            ),
            REPORT_AND_END,
        )
    )
