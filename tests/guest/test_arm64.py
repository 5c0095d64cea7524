"""What `daxmap.kvm` makes of an arm64 CPU, and the programs for it, run by unicorn's arm64: on any host.

unicorn has the MMU and the instructions; KVM's exits, and the CPU's way to an exception vector, are played here.
"""

import struct
from typing import TYPE_CHECKING

import pytest

from daxmap import guest
from daxmap.guest import END_ADDRESS, ENTRY, REPORT_ADDRESS, Program
from daxmap.guest.arm64 import EXCEPTION_ADDRESS
from daxmap.kvm.arm64_start import below_entry, registers
from support import attacks
from support.host import PAGE

if TYPE_CHECKING:
    from unicorn import Uc

unicorn = pytest.importorskip("unicorn", reason="unicorn is not installed", exc_type=ImportError)
from unicorn import arm64_const  # noqa: E402

RAM_SIZE = 2 << 20
WORD = 0x8765_4321
GRANULES = [4 << 10, 16 << 10, 64 << 10]

Store = tuple[int, int]
"""Address and value."""
SystemRegister = tuple[int, int, int, int, int]
"""crn, crm, op0, op1, op2, as unicorn has them."""

ESR_EL1, MAIR_EL1, VBAR_EL1 = (5, 2, 3, 0, 0), (10, 2, 3, 0, 0), (12, 0, 3, 0, 0)
AARCH64_AT_EL1 = {(1, 1, 3, 6, 0): 1 << 10 | 1, (1, 1, 3, 4, 0): 1 << 31}
"""SCR_EL3.RW and NS, and HCR_EL2.RW: what firmware and KVM set."""


class Cpu:
    """An arm64 CPU with the registers that KVM is told, and RAM with what is below `ENTRY`."""

    def __init__(self, granule: int) -> None:
        self.granule = granule
        self._uc = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
        self._uc.mem_map(0, RAM_SIZE)
        self._uc.mem_map(REPORT_ADDRESS, PAGE)
        self.write(0, below_entry(granule))
        for register, value in AARCH64_AT_EL1.items():
            self.set(register, value)
        for number, value in registers(granule, ENTRY).items():
            self._set_one_reg(number, value)
        self._stores: list[Store] = []
        self._uc.hook_add(unicorn.UC_HOOK_MEM_WRITE, self._on_store, begin=REPORT_ADDRESS, end=REPORT_ADDRESS + PAGE)

    def run(self, program: Program) -> list[Store]:
        """What a program stores to where it reports and ends."""
        self.write(ENTRY, program.arm64)
        return self.go_on(self._uc.reg_read(arm64_const.UC_ARM64_REG_PC))

    def go_on(self, address: int) -> list[Store]:
        """The same of the code at an address."""
        self._stores.clear()
        self._uc.emu_start(address, 0, count=10_000)
        return self._stores

    def write(self, address: int, data: bytes) -> None:
        self._uc.mem_write(address, data)

    def store(self, address: int, *values: int) -> None:
        self.write(address, struct.pack(f"<{len(values)}I", *values))

    def load(self, address: int, words: int = 1) -> tuple[int, ...]:
        return struct.unpack(f"<{words}I", self._uc.mem_read(address, 4 * words))

    def get(self, register: SystemRegister) -> int:
        value: int = self._uc.reg_read(arm64_const.UC_ARM64_REG_CP_REG, register)
        return value

    def set(self, register: SystemRegister, value: int) -> None:
        self._uc.reg_write(arm64_const.UC_ARM64_REG_CP_REG, (*register, value))

    def _set_one_reg(self, number: int, value: int) -> None:
        """As KVM_SET_ONE_REG does: api.rst, 4.68, has the numbers."""
        assert number >> 32 == 0x6030_0000
        kind, index = number >> 16 & 0xFFFF, number & 0xFFFF
        if kind == 0x13:
            self.set((index >> 7 & 0xF, index >> 3 & 0xF, index >> 14, index >> 11 & 0x7, index & 0x7), value)
        else:
            assert kind == 0x10
            core = {0x40: arm64_const.UC_ARM64_REG_PC, 0x42: arm64_const.UC_ARM64_REG_PSTATE}
            self._uc.reg_write(core[index], value)

    def _on_store(self, uc: "Uc", _access: int, address: int, _size: int, value: int, _data: object) -> None:
        self._stores.append((address, value & 0xFFFF_FFFF))
        if address != REPORT_ADDRESS:
            uc.emu_stop()


@pytest.fixture(params=GRANULES)
def cpu(request: pytest.FixtureRequest) -> Cpu:
    """One with pages of each size that a host may have."""
    return Cpu(request.param)


def reported(*values: int) -> list[Store]:
    return [*((REPORT_ADDRESS, value) for value in values), (END_ADDRESS, 0)]


def test_store_stores_the_word(cpu: Cpu) -> None:
    assert cpu.run(guest.store(0x1_8000, WORD)) == reported()
    assert cpu.load(0x1_8000) == (WORD,)


def test_load_reports_the_word(cpu: Cpu) -> None:
    cpu.store(0x1_8000, WORD)
    assert cpu.run(guest.load(0x1_8000)) == reported(WORD)


def test_copy_moves_the_words_and_no_more(cpu: Cpu) -> None:
    cpu.store(0x8000, 1, 2, WORD, 4)
    assert cpu.run(guest.copy(0x8000, 0x9000, 12)) == reported()
    assert cpu.load(0x9000, 4) == (1, 2, WORD, 0)


def test_checksum_is_modulo_32_bits(cpu: Cpu) -> None:
    cpu.store(0x8000, WORD, WORD, 4, 5)
    assert cpu.run(guest.checksum(0x8000, 12)) == reported((2 * WORD + 4) % 2**32)


BLOCKS = {4 << 10: 1 << 30, 16 << 10: 32 << 20, 64 << 10: 512 << 20}
"""What an entry of the table is for, by the size of a page."""


def test_what_programs_address_is_write_back_memory_and_what_they_report_to_a_device(cpu: Cpu) -> None:
    """By the bits: unicorn has no caches."""
    for address in (0, 1 << 30, (1 << 32) - 4, REPORT_ADDRESS, END_ADDRESS, EXCEPTION_ADDRESS):
        low, _ = cpu.load(address // BLOCKS[cpu.granule] * 8, 2)
        memory_type = cpu.get(MAIR_EL1) >> 8 * (low >> 2 & 0b111) & 0xFF
        assert memory_type == (0xFF if address < 1 << 32 else 0x00), hex(address)


@pytest.mark.parametrize("vector", range(0, 0x800, 0x80), ids=hex)
def test_exception_is_told_with_its_syndrome(cpu: Cpu, vector: int) -> None:
    cpu.set(ESR_EL1, 0x0200_0000)
    assert cpu.go_on(cpu.get(VBAR_EL1) + vector) == [(EXCEPTION_ADDRESS, 0x0200_0000)]


# What a guest that means harm runs under KVM.


def test_report_and_jump(cpu: Cpu) -> None:
    cpu.write(0x8000, attacks.report(WORD).arm64)
    assert cpu.run(attacks.jump(0x8000)) == reported(WORD)


def test_slide_goes_on_to_what_follows(cpu: Cpu) -> None:
    cpu.write(0x8000, attacks.slide(32).arm64 + attacks.report(WORD).arm64)
    assert cpu.run(attacks.jump(0x8000)) == reported(WORD)


def test_add_changes_one_word(cpu: Cpu) -> None:
    cpu.store(0x8000, WORD)
    assert cpu.run(attacks.add(0x8000, 2)) == reported()
    assert cpu.load(0x8000, 2) == (WORD + 2, 0)


def test_fill_ends_with_the_range(cpu: Cpu) -> None:
    assert cpu.run(attacks.fill(0x8000, 8)) == reported()
    assert cpu.load(0x8000, 3) == (0xFFFF_FFFF, 0xFFFF_FFFF, 0)


def test_push_stores_below_the_address(cpu: Cpu) -> None:
    cpu.store(0x8000, WORD, WORD)
    assert cpu.run(attacks.push(0x8004)) == reported()
    assert cpu.load(0x8000, 2) == (0, WORD)


def test_watch_ends_at_another_word_than_the_expected_one(cpu: Cpu) -> None:
    for page in (0, 1):
        cpu.store(0x8_0000 + page * PAGE, WORD)
    cpu.store(0x8_0000 + 2 * PAGE, 7)
    assert cpu.run(attacks.watch(0x8_0000, 3, WORD, 0x8000)) == reported(7)
    assert cpu.load(0x8000) == (0,)


def test_watch_counts_its_rounds_for_ever(cpu: Cpu) -> None:
    cpu.store(0x8_0000, WORD)
    assert cpu.run(attacks.watch(0x8_0000, 1, WORD, 0x8000)) == []
    assert cpu.load(0x8000)[0] > 100
