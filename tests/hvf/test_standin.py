"""The stand-in refuses what Hypervisor.framework would, so that tests over it can fail."""

import ctypes
import mmap
from collections.abc import Iterator

import pytest

from hvf.standin import EXEC, READ, WRITE, Code, Standin
from hvf.window import BASE
from support.host import PAGE

ALL = READ | WRITE | EXEC


@pytest.fixture
def memory() -> Iterator[int]:
    """The address of four pages."""
    with mmap.mmap(-1, 4 * PAGE) as memory:
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        yield address


@pytest.mark.parametrize(
    ("shift", "range_"),
    [
        pytest.param(1, (BASE, PAGE, ALL), id="host address not aligned"),
        pytest.param(0, (BASE + PAGE // 4, PAGE, ALL), id="guest address not aligned"),
        pytest.param(0, (BASE, PAGE // 4, ALL), id="size not aligned"),
        pytest.param(0, (BASE, 0, ALL), id="empty"),
        pytest.param(0, (2**64 - PAGE, 2 * PAGE, ALL), id="wraps"),
        pytest.param(0, (BASE, PAGE, 0), id="no access"),
        pytest.param(0, (BASE, PAGE, 8), id="unknown access"),
        pytest.param(0, (BASE + PAGE, 2 * PAGE, ALL), id="overlaps"),
        pytest.param(-1 << 40, (BASE, PAGE, ALL), id="no memory there"),
    ],
)
def test_bad_map_is_refused(standin: Standin, memory: int, shift: int, range_: tuple[int, int, int]) -> None:
    assert standin.map(memory, BASE + 2 * PAGE, PAGE, ALL) == Code.SUCCESS
    before = standin.ranges()
    assert standin.map(memory + shift, *range_) == Code.BAD_ARGUMENT
    assert standin.ranges() == before


def test_host_memory_that_is_not_writable_is_refused(standin: Standin, memory: int) -> None:
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(memory), PAGE, mmap.PROT_READ) == 0
    assert standin.map(memory, BASE, PAGE, READ) == Code.BAD_ARGUMENT
    assert standin.map(memory, BASE, 2 * PAGE, READ) == Code.BAD_ARGUMENT
    assert standin.map(memory + PAGE, BASE, PAGE, READ) == Code.SUCCESS


def test_range_is_unmapped_and_protected_whole_or_not_at_all(standin: Standin, memory: int) -> None:
    standin.map(memory, BASE, 2 * PAGE, ALL)
    for ipa, size in [(BASE, PAGE), (BASE + PAGE, PAGE), (BASE, 3 * PAGE), (BASE + 8 * PAGE, PAGE)]:
        assert standin.unmap(ipa, size) == Code.BAD_ARGUMENT
        assert standin.protect(ipa, size, READ) == Code.BAD_ARGUMENT
    assert standin.protect(BASE, 2 * PAGE, READ) == Code.SUCCESS
    assert [entry.flags for entry in standin.ranges()] == [READ]
    assert standin.unmap(BASE, 2 * PAGE) == Code.SUCCESS
    assert standin.ranges() == []


def test_calls_without_a_vm_are_refused_and_counted(standin: Standin, memory: int) -> None:
    assert standin.create() == Code.BUSY
    standin.map(memory, BASE, PAGE, ALL)
    assert standin.destroy() == Code.SUCCESS
    assert standin.calls_without_vm == 0
    assert standin.unmap(BASE, PAGE) == Code.NO_DEVICE
    assert standin.map(memory, BASE, PAGE, ALL) == Code.NO_DEVICE
    assert standin.protect(BASE, PAGE, READ) == Code.NO_DEVICE
    assert standin.destroy() == Code.NO_DEVICE
    assert standin.calls_without_vm == 3
    assert standin.create() == Code.SUCCESS
    assert standin.ranges() == []


def test_guest_is_held_to_its_access(standin: Standin, memory: int) -> None:
    standin.map(memory, BASE, PAGE, READ | EXEC)
    standin.map(memory + PAGE, BASE + PAGE, PAGE, READ | WRITE)
    ctypes.memmove(memory + PAGE - 1, b"ab", 2)
    assert standin.load(BASE + PAGE - 1, 2) == b"ab"
    assert standin.store(BASE + PAGE, b"c")
    assert ctypes.string_at(memory + PAGE, 1) == b"c"
    assert not standin.store(BASE, b"c")
    assert standin.load(BASE + 2 * PAGE, 1) is None


def test_calls_fail_on_demand(standin: Standin, memory: int) -> None:
    standin.fail(2, Code.BUSY, count=2)
    codes = [standin.map(memory, BASE + PAGE * page, PAGE, READ) for page in range(4)]
    assert codes == [Code.SUCCESS, Code.BUSY, Code.BUSY, Code.SUCCESS]
    assert [call.code for call in standin.calls()[1:]] == codes
    assert [entry.ipa for entry in standin.ranges()] == [BASE, BASE + 3 * PAGE]


def test_guest_access_to_memory_that_is_gone_is_refused_not_a_signal(standin: Standin) -> None:
    with mmap.mmap(-1, PAGE) as memory:
        buffer = ctypes.c_char.from_buffer(memory)
        standin.map(ctypes.addressof(buffer), BASE, PAGE, ALL)
        del buffer
    assert standin.load(BASE, 1) is None
    assert not standin.store(BASE, b"x")
    assert standin.unmap(BASE, PAGE) == Code.SUCCESS
    assert [call.backed for call in standin.calls()] == [False, True, False]
