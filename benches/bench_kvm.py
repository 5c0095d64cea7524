"""The window as one memslot of a KVM machine, beside a memslot for each mapping."""

import ctypes

import pytest

from benches.bench_pair import GAP
from benches.compare import Compare
from benches.floor import SLOT, Work
from benches.windows import GIB, LIVE, every_other, pairs, per_operation
from daxmap import DaxMapper, KvmBackend
from daxmap.kvm import Vm

BASE = 1 << 32
WINDOW_SLOT = 2


def test_pair(compare: Compare, floor: ctypes.CDLL, fd: int) -> None:
    try:
        vm = Vm("2MiB")
    except OSError as error:
        pytest.skip(f"KVM can't be used: {error}")
    with vm, DaxMapper(BASE, 8 * GIB, KvmBackend(vm, WINDOW_SLOT)) as mapper:
        for offset in every_other(0, LIVE):
            mapper.setup_mapping(fd, 0, offset, SLOT, writable=False)
        work = Work(0, GAP, fd)
        slots = per_operation(lambda: floor.slot_pairs(work, vm.fd, BASE + 16 * GIB), len(GAP))
        compare(
            "pair, gap, under KVM", pairs(mapper, fd, GAP), slots, against="C loop with a memslot a mapping", bar=0.5
        )
