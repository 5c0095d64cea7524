"""Making mappers and backends: what is taken, what is refused, and that a refusal leaves nothing behind."""

import errno
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from daxmap import (
    DaxMapper,
    DaxStats,
    HostWindowBackend,
    HvfBackend,
    HypervisorBackend,
    KvmBackend,
    MappingInfo,
    RemoveResult,
)
from daxmap.kvm import KVM_CAP_NR_MEMSLOTS, Vm, capability
from hvf.standin import stand_in
from support.guests import open_vm
from support.host import HOLE, PAGE, peek, vmas
from support.recording import RecordingBackend, RecordingHypervisor
from support.rig import Rig

BASE = 1 << 32
SIZE = 4 << 20
AnyBackend = HostWindowBackend | KvmBackend | HypervisorBackend | HvfBackend | RecordingBackend
KVM_CAP_MULTI_ADDRESS_SPACE = 118
MakeBackend = Callable[[], AnyBackend]
WINDOWS = ["host-window", "kvm"]
"""Those that reserve addresses."""
OURS = [*WINDOWS, "hypervisor", "hvf"]
"""Those that know whether they serve a mapper already."""


def reserved() -> int:
    """Bytes of addresses that the process has and cannot access."""
    return sum(vma.end - vma.start for vma in vmas() if vma.shown == HOLE)


@contextmanager
def nothing_reserved() -> Iterator[None]:
    gc.collect()  # what other tests left behind may have reserved some too
    before = reserved()
    yield
    assert reserved() == before


def use(backend: AnyBackend) -> None:
    """Check that a backend can still serve a mapper."""
    with DaxMapper(BASE, SIZE, backend) as mapper:
        assert len(mapper) == 0
    if isinstance(backend, HostWindowBackend):
        backend.release()


@pytest.fixture
def vm() -> Iterator[Vm]:
    with open_vm() as machine:
        yield machine


@pytest.fixture(params=[*OURS, "python-backend"])
def make_backend(request: pytest.FixtureRequest) -> MakeBackend:
    if request.param == "kvm":
        vm: Vm = request.getfixturevalue("vm")
        return lambda: KvmBackend(vm.fd, 1)
    if request.param == "hvf":
        framework = stand_in().path
        return lambda: HvfBackend(framework=framework)
    makers: dict[str, MakeBackend] = {
        "host-window": HostWindowBackend,
        "hypervisor": lambda: HypervisorBackend(RecordingHypervisor()),
        "python-backend": RecordingBackend,
    }
    return makers[request.param]


@pytest.mark.parametrize(
    ("base", "size"),
    [
        (BASE, 0),
        (BASE, 1),
        (BASE, PAGE - 1),
        (BASE, SIZE + 1),
        (BASE, SIZE + PAGE // 2),
        (1, SIZE),
        (BASE + PAGE // 2, SIZE),
        (2**64 - PAGE, 2 * PAGE),
        (2**64 - SIZE, SIZE + PAGE),
    ],
)
def test_window_that_cannot_be(make_backend: MakeBackend, base: int, size: int) -> None:
    check_refused(make_backend(), base, size)


@pytest.mark.parametrize("make_backend", WINDOWS, indirect=True)
@pytest.mark.parametrize(("base", "size"), [(0, 2**64 - PAGE), (BASE, 1 << 63), (BASE, 1 << 57)])
def test_window_that_no_host_has_addresses_for(make_backend: MakeBackend, base: int, size: int) -> None:
    check_refused(make_backend(), base, size)


def check_refused(backend: AnyBackend, base: int, size: int) -> None:
    """Check that a window is a bad value, and that nothing comes of asking for it."""
    with nothing_reserved():
        for _ in range(2):
            with pytest.raises(ValueError, match=r"window|size") as caught:
                DaxMapper(base, size, backend)
            assert hex(size) in str(caught.value) or hex(base) in str(caught.value) or "is 0" in str(caught.value)
    use(backend)


@pytest.mark.parametrize("make_backend", WINDOWS, indirect=True)
def test_window_that_this_host_has_no_addresses_for(make_backend: MakeBackend) -> None:
    backend = make_backend()
    with nothing_reserved(), pytest.raises(OSError, match="reserv") as caught:
        DaxMapper(0, (1 << 47) - (2 << 20), backend)
    assert caught.value.errno == errno.ENOMEM
    use(backend)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("base", -1, OverflowError),
        ("base", 2**64, OverflowError),
        ("base", 1.0, TypeError),
        ("base", None, TypeError),
        ("size", -PAGE, OverflowError),
        ("size", 2**64, OverflowError),
        ("size", 4096.0, TypeError),
        ("size", "4096", ValueError),
        ("size", "128MB", ValueError),
        ("size", "1KiB", ValueError),
        ("readonly", 1, TypeError),
        ("readonly", None, TypeError),
        ("max_mappings", 0, ValueError),
        ("max_mappings", -1, OverflowError),
        ("max_mappings", 2**64, OverflowError),
        ("max_mappings", 1.0, TypeError),
        ("unknown", 1, TypeError),
    ],
)
def test_argument_that_cannot_be(name: str, value: object, error: type[Exception]) -> None:
    backend = HostWindowBackend()
    arguments: dict[str, Any] = {"base": BASE, "size": SIZE, "backend": backend, name: value}
    with nothing_reserved(), pytest.raises(error):
        DaxMapper(**arguments)
    use(backend)


@pytest.mark.parametrize("backend", [None, 7, "kvm", object(), HostWindowBackend, lambda: None])
def test_backend_that_is_none(backend: Any) -> None:  # noqa: ANN401
    with nothing_reserved(), pytest.raises(TypeError):
        DaxMapper(BASE, SIZE, backend)


def test_options_by_position_are_refused() -> None:
    make: Any = DaxMapper
    with nothing_reserved(), pytest.raises(TypeError):
        make(BASE, SIZE, HostWindowBackend(), True)  # noqa: FBT003


@pytest.mark.parametrize("make_backend", OURS, indirect=True)
def test_backend_serves_one_mapper(make_backend: MakeBackend) -> None:
    backend = make_backend()
    with DaxMapper(BASE, SIZE, backend) as mapper, nothing_reserved():
        for base in (BASE, BASE + SIZE):
            with pytest.raises(ValueError, match="make a new one for each mapper"):
                DaxMapper(base, SIZE, backend)
        assert not mapper.closed
        assert peek(mapper.host_address or 0, 1) is None
    with nothing_reserved(), pytest.raises(ValueError, match="make a new one for each mapper"):
        DaxMapper(BASE, SIZE, backend)
    if isinstance(backend, HostWindowBackend):
        backend.release()
        with nothing_reserved(), pytest.raises(ValueError, match=r"make a new one|released"):
            DaxMapper(BASE, SIZE, backend)


def test_refused_mapper_leaves_the_first_alone(rig: Rig) -> None:
    subject = rig.open(SIZE)
    subject.map(rig.file(), 0)
    with subject.untouched(), pytest.raises(ValueError, match="multiple"):
        rig.attach(subject.mapper.base, SIZE + 1, readonly=False, max_mappings=None)


def test_attributes(rig: Rig) -> None:
    subject = rig.open(SIZE, readonly=True)
    mapper: Any = subject.mapper
    assert (mapper.size, mapper.readonly, mapper.page_size, mapper.closed) == (SIZE, True, PAGE, False)
    for name in ("base", "size", "readonly", "page_size", "closed", "host_address", "new"):
        with pytest.raises(AttributeError):
            setattr(mapper, name, 0)


def test_stats_of_nothing_are_zeros(rig: Rig) -> None:
    assert rig.open(SIZE).mapper.stats() == DaxStats()
    counters = DaxStats().as_dict()
    assert counters.pop("errors") == {}
    assert set(counters.values()) == {0}
    assert set(counters) == {
        "setup_count",
        "setup_bytes",
        "remove_count",
        "upgrade_count",
        "replaced_count",
        "split_count",
        "swept_count",
        "leaked_count",
        "lost_count",
        "live_mappings",
        "live_bytes",
        "peak_mappings",
    }


@pytest.mark.parametrize("value_type", [MappingInfo, RemoveResult])
def test_results_are_not_made_by_hand(value_type: Any) -> None:  # noqa: ANN401
    with pytest.raises(TypeError):
        value_type()


# KVM's own.


@pytest.mark.parametrize("fd", [-1, 500])
def test_kvm_backend_of_a_descriptor_that_is_not_open(fd: int) -> None:
    with pytest.raises(OSError, match=str(fd)) as caught:
        KvmBackend(fd, 1)
    assert caught.value.errno == errno.EBADF


@pytest.mark.parametrize(
    ("fd", "slot", "error"),
    [
        (None, 1, TypeError),
        (1.0, 1, TypeError),
        ("3", 1, TypeError),
        (2**64, 1, OverflowError),
        (0, None, TypeError),
        (0, 1.0, TypeError),
        (0, -1, OverflowError),
        (0, 2**32, OverflowError),
    ],
)
def test_kvm_backend_of_values_that_cannot_be(fd: Any, slot: Any, error: type[Exception]) -> None:  # noqa: ANN401
    with pytest.raises(error):
        KvmBackend(fd, slot)


def refused(backend: KvmBackend, base: int) -> int | None:
    with nothing_reserved(), pytest.raises(OSError, match="KVM_SET_USER_MEMORY_REGION") as caught:
        DaxMapper(base, SIZE, backend)
    return caught.value.errno


def test_kvm_window_over_other_memory_is_refused(vm: Vm) -> None:
    backend = KvmBackend(vm.fd, 1)
    assert refused(backend, 0) == errno.EEXIST
    use(backend)


def test_kvm_slot_that_is_in_use_is_refused(vm: Vm) -> None:
    with DaxMapper(BASE, SIZE, KvmBackend(vm.fd, 1)):
        assert refused(KvmBackend(vm.fd, 1), BASE + SIZE) in (errno.EINVAL, errno.EEXIST)


def test_kvm_slots_are_as_many_as_the_vm_has(vm: Vm) -> None:
    slots = capability(vm, KVM_CAP_NR_MEMSLOTS)
    use(KvmBackend(vm, slots - 1))
    for slot in {slots, 0xFFFF}:
        with pytest.raises(ValueError, match=rf"^slot: {slot} is too large: this VM has slots 0 to {slots - 1}\b"):
            KvmBackend(vm, slot)


def test_kvm_address_spaces_are_as_many_as_the_vm_has(vm: Vm) -> None:
    spaces = capability(vm, KVM_CAP_MULTI_ADDRESS_SPACE) or 1
    use(KvmBackend(vm, (spaces - 1) << 16 | 1))
    for slot in (spaces << 16 | 1, 0xFFFF_0001, 0xFFFF_FFFF):
        named = rf"^slot: {slot:#x} has address space {slot >> 16} .*: this VM has address spaces 0 to {spaces - 1}$"
        with pytest.raises(ValueError, match=named):
            KvmBackend(vm, slot)


@pytest.mark.parametrize("slot", [1, 0xFFFF, 0xFFFF_FFFF])
def test_kvm_backend_of_what_is_no_vm(rig: Rig, slot: int) -> None:
    assert refused(KvmBackend(rig.file().fd, slot), BASE) == errno.ENOTTY
