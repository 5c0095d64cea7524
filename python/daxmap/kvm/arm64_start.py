"""What an arm64 virtual CPU finds when a program begins: its registers, and the memory below `guest.ENTRY`.

The MMU is on. Without it the guest's loads and stores would be those of Device memory, which pass by the caches: on a
CPU without FEAT_S2FWB they would miss what the host has just written to a file, and the host would miss what they
wrote. With it, all that a program can address is Normal write-back memory, as the page cache is for the host.

| guest physical address | what is there                                                                        |
|------------------------|--------------------------------------------------------------------------------------|
| 0                      | the translation table: 4 GiB of Normal memory, and what programs report to as Device  |
| 0x800                  | the exception vectors: each exception is told to `EXCEPTION_ADDRESS`                  |
| ENTRY - 4              | a NOP, the first instruction                                                          |

Fields and encodings are those of the Arm ARM (DDI 0487): parts D8 and D24, and C6 for instructions. The ids of
registers are those of the kernel's arch/arm64/include/uapi/asm/kvm.h.
"""

import struct
from dataclasses import dataclass

from daxmap.guest.arm64 import X9_REPORT, code

_VECTORS = 0x800  # a multiple of 2 KiB
_VECTOR_SIZE = 0x80
_VECTOR_COUNT = 16

_ADDRESS_BITS = 33  # up to the end of the block that has REPORT_ADDRESS
_NORMAL_BYTES = 1 << 32  # what a program can address

# Indices in MAIR_EL1, as a block's AttrIndx has them.
_NORMAL, _DEVICE = 0, 1
_MAIR = 0xFF << 8 * _NORMAL | 0x00 << 8 * _DEVICE  # write-back, allocating; nGnRnE

_BLOCK = 0b01
_ATTR_INDEX_SHIFT = 2
_INNER_SHAREABLE = 0b11 << 8
_ACCESS_FLAG = 1 << 10
_NO_EXECUTION = 0b11 << 53  # UXN, PXN


@dataclass(frozen=True)
class _Granule:
    """A size of pages that the guest's MMU may have; the table is one of blocks, of the level that has 33 bits."""

    tg0: int
    """TCR_EL1.TG0."""
    block_bits: int


# The guest's is that of the host's own pages, so the CPU has it.
_GRANULES = {4 << 10: _Granule(0b00, 30), 16 << 10: _Granule(0b10, 25), 64 << 10: _Granule(0b01, 29)}

_CORE = 0x6030_0000_0010_0000  # KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE
_SYSTEM = 0x6030_0000_0013_0000  # KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM64_SYSREG
_PC = _CORE | 256 // 4  # struct kvm_regs: the offset, in 32-bit words
_PSTATE = _CORE | 264 // 4
_EL1H_ALL_MASKED = 0x3C5


def _system(op0: int, op1: int, crn: int, crm: int, op2: int) -> int:
    return _SYSTEM | op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2


_SCTLR_EL1 = _system(3, 0, 1, 0, 0)
_TTBR0_EL1 = _system(3, 0, 2, 0, 0)
_TCR_EL1 = _system(3, 0, 2, 0, 2)
_MAIR_EL1 = _system(3, 0, 10, 2, 0)
_VBAR_EL1 = _system(3, 0, 12, 0, 0)

_SCTLR_RES1 = 1 << 29 | 1 << 28 | 1 << 23 | 1 << 22 | 1 << 20 | 1 << 11
_SCTLR_I, _SCTLR_C, _SCTLR_M = 1 << 12, 1 << 2, 1 << 0
_TCR_EPD1 = 1 << 23  # no walks of TTBR1_EL1
_TCR_WALKS = 0b11 << 12 | 0b01 << 10 | 0b01 << 8  # inner shareable, write-back: as the host wrote the table
_TCR_IPS_36_BITS = 0b001 << 32


def registers(page_size: int, entry: int) -> dict[int, int]:
    """Registers and their values when a program begins, by id of KVM_SET_ONE_REG.

    Args:
        page_size: the host's, in bytes.
        entry: where the program is. The instruction before it is a NOP.
    """
    t0sz = 64 - _ADDRESS_BITS
    return {
        _MAIR_EL1: _MAIR,
        _TCR_EL1: _TCR_IPS_36_BITS | _TCR_EPD1 | _GRANULES[page_size].tg0 << 14 | _TCR_WALKS | t0sz,
        _TTBR0_EL1: 0,
        _VBAR_EL1: _VECTORS,
        _SCTLR_EL1: _SCTLR_RES1 | _SCTLR_I | _SCTLR_C | _SCTLR_M,
        _PSTATE: _EL1H_ALL_MASKED,
        # KVM steps over the access that ended the program before, an MMIO exit, only when the CPU is entered again:
        # then the first instruction is at `entry`, else it is the NOP.
        _PC: entry - 4,
    }


def below_entry(page_size: int) -> bytes:
    """The memory from address 0 to `guest.ENTRY`.

    Args:
        page_size: the host's, in bytes.
    """
    return (_TABLES[page_size].ljust(_VECTORS, b"\0") + _VECTOR * _VECTOR_COUNT)[:-4] + _NOP


def _table(granule: _Granule) -> bytes:
    addresses = range(0, 1 << _ADDRESS_BITS, 1 << granule.block_bits)
    normal = _BLOCK | _NORMAL << _ATTR_INDEX_SHIFT | _INNER_SHAREABLE | _ACCESS_FLAG
    device = _BLOCK | _DEVICE << _ATTR_INDEX_SHIFT | _ACCESS_FLAG | _NO_EXECUTION
    blocks = [address | normal if address < _NORMAL_BYTES else 0 for address in addresses]
    blocks[-1] = addresses[-1] | device
    return struct.pack(f"<{len(blocks)}Q", *blocks)


_TABLES = {page_size: _table(granule) for page_size, granule in _GRANULES.items()}
_NOP = code(0xD503_201F)
_VECTOR = b"".join(
    (
        X9_REPORT,
        code(
            0xD538_5200,  # mrs x0, esr_el1
            0xB900_0920,  # str w0, [x9, 8]    EXCEPTION_ADDRESS
        ),
    )
).ljust(_VECTOR_SIZE, b"\0")
