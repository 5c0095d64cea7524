"""Mappings under Hypervisor.framework: what the guest gets, what the host holds, and in which order."""

import os
from errno import EACCES, EINVAL, EIO, ENOTSUP
from pathlib import Path

import pytest

from daxmap import DaxMapper, HvfBackend
from hvf.standin import EXEC, READ, WRITE, Code, Operation, Standin
from hvf.window import BASE, SIZE, Window
from support.host import PAGE
from support.paths import PROJECT

MAP, UNMAP, PROTECT = Operation.MAP, Operation.UNMAP, Operation.PROTECT


def new_calls(standin: Standin) -> list[Operation]:
    """What was called since the VM was created."""
    return standin.operations()[1:]


def test_host_page_size_is_the_unit(window: Window) -> None:
    assert window.mapper.page_size == PAGE == os.sysconf("SC_PAGESIZE")
    file = window.file()
    part = PAGE // 4
    for file_offset, offset, length in [(part, 0, PAGE), (0, part, PAGE), (0, 0, part)]:
        with pytest.raises(OSError, match=f"{PAGE:#x}") as caught:
            window.map(file, offset, length, file_offset=file_offset)
        assert caught.value.errno == EINVAL
    assert new_calls(window.standin) == []


@pytest.mark.parametrize("writable", [False, True])
def test_guest_can_execute_what_it_can_read(window: Window, *, writable: bool) -> None:
    window.map(window.file(), 2 * PAGE, 3 * PAGE, file_offset=PAGE, writable=writable)
    [call] = window.standin.calls()[1:]
    assert (call.operation, call.range.ipa, call.range.size) == (MAP, BASE + 2 * PAGE, 3 * PAGE)
    assert call.range.flags == (READ | WRITE | EXEC if writable else READ | EXEC)
    assert call.range.host % PAGE == 0
    window.agree()


def test_store_of_the_guest_reaches_the_file_and_the_mapper(window: Window) -> None:
    file = window.file()
    window.map(file, 0, writable=True)
    assert window.standin.store(BASE + 8, b"guest")
    assert file.path.read_bytes()[8:13] == b"guest"
    assert window.mapper.read(BASE + 8, 5) == b"guest"
    window.mapper.write(BASE + 8, b"host!")
    assert window.standin.load(BASE + 8, 5) == b"host!"


@pytest.mark.parametrize(
    ("flags", "readonly", "access"),
    [
        pytest.param(os.O_RDWR, False, "rw-s", id="it can be upgraded"),
        pytest.param(os.O_RDONLY, False, "rw-p", id="the fd is not open for writing"),
        pytest.param(os.O_RDWR, True, "rw-p", id="the mapper is read-only"),
    ],
)
def test_read_only_mapping_is_private_unless_an_upgrade_may_come(
    standin: Standin, tmp_path: Path, flags: int, *, readonly: bool, access: str
) -> None:
    with Window(standin, tmp_path, readonly=readonly) as window:
        file = window.file(flags=flags)
        before = file.path.read_bytes()
        window.map(file, 0)
        assert window.access(0) == access
        assert not standin.store(BASE, b"x")
        assert file.path.read_bytes() == before
        window.agree()


def test_file_that_grows_is_seen_through_the_old_mapping(window: Window) -> None:
    file = window.file(pages=1)
    window.map(file, 0, 4 * PAGE)
    assert window.standin.load(BASE + 2 * PAGE, 1) is None
    os.pwrite(file.fd, b"grown", 2 * PAGE)
    assert window.standin.load(BASE + 2 * PAGE, 5) == b"grown"
    window.agree()


def test_upgrade_of_shared_memory_is_one_protect(window: Window) -> None:
    file = window.file()
    window.map(file, 0, 2 * PAGE)
    before = window.ranges()
    window.map(file, 0, 2 * PAGE, writable=True)
    assert new_calls(window.standin) == [MAP, PROTECT]
    assert [entry.host for entry in window.ranges()] == [entry.host for entry in before]
    assert window.standin.store(BASE, b"upgraded")
    assert file.path.read_bytes()[:8] == b"upgraded"
    window.agree()


def test_upgrade_of_private_memory_maps_the_new_before_it_lets_go_of_the_old(window: Window) -> None:
    file = window.file(flags=os.O_RDONLY)
    window.map(file, 0, 2 * PAGE, file_offset=PAGE)
    [old] = window.ranges()
    writable_fd = os.open(file.path, os.O_RDWR)
    window.mapper.setup_mapping(writable_fd, PAGE, 0, 2 * PAGE, writable=True)
    os.close(writable_fd)
    assert new_calls(window.standin) == [MAP, UNMAP, MAP]
    [new] = window.ranges()
    assert new.host != old.host, "the old memory was freed first"
    assert window.access(0) == "rw-s"
    assert window.standin.store(BASE, b"upgraded")
    assert file.path.read_bytes()[PAGE : PAGE + 8] == b"upgraded"
    assert window.mapper.stats().upgrade_count == 1
    window.agree()


def test_upgrade_with_a_descriptor_that_cannot_write_is_refused_before_any_call(window: Window) -> None:
    file = window.file()
    window.map(file, 0)
    read_only_fd = os.open(file.path, os.O_RDONLY)
    with pytest.raises(PermissionError) as caught:
        window.mapper.setup_mapping(read_only_fd, 0, 0, PAGE, writable=True)
    os.close(read_only_fd)
    assert caught.value.errno == EACCES
    assert new_calls(window.standin) == [MAP]
    window.agree()


def test_removal_takes_the_range_from_the_guest_and_then_from_the_host(window: Window) -> None:
    file = window.file()
    for page in range(4):
        window.map(file, page * PAGE, file_offset=page * PAGE)
    window.mapper.remove_mapping(PAGE, PAGE)
    window.agree()
    result = window.mapper.remove_mappings([(0, PAGE), (PAGE, PAGE), (3 * PAGE, PAGE)])
    assert (result.removed, len(result.failed)) == (2, 1)
    assert new_calls(window.standin) == [MAP] * 4 + [UNMAP] * 3
    assert [entry.ipa for entry in window.ranges()] == [BASE + 2 * PAGE]
    window.agree()


def test_range_that_was_removed_can_be_mapped_again(window: Window) -> None:
    file = window.file()
    for round_ in range(4):
        window.map(file, 0, file_offset=round_ * PAGE)
        window.agree()
        window.mapper.remove_mapping(0, PAGE)
    window.agree()


def test_two_shares_have_windows_of_the_same_vm(standin: Standin, tmp_path: Path) -> None:
    with Window(standin, tmp_path) as first, Window(standin, tmp_path, base=BASE + SIZE) as second:
        first.map(first.file(), SIZE - PAGE)
        second.map(second.file(), 0, writable=True)
        first.mapper.drain_all()
        assert [entry.ipa for entry in standin.ranges()] == [BASE + SIZE]
        first.agree()
        second.agree()


@pytest.mark.parametrize("code", [code for code in Code if code != Code.SUCCESS])
def test_return_code_is_named_in_the_error(window: Window, code: Code) -> None:
    file = window.file()
    window.standin.fail(1, code)
    with pytest.raises(OSError, match=f"hv_vm_map returned HV_{code.name} \\({code:#x}\\): .{{10}}") as caught:
        window.map(file, 0)
    assert caught.value.errno == EIO
    assert f"| `HV_{code.name}` | {code:#x} |" in (PROJECT / "docs" / "how-to" / "macos.md").read_text()
    window.agree()


def test_denied_says_which_entitlement_is_missing_and_how_to_sign(window: Window) -> None:
    window.standin.fail(1, Code.DENIED)
    with pytest.raises(OSError, match=r"com\.apple\.security\.hypervisor") as caught:
        window.map(window.file(), 0)
    running = Path("/proc/self/exe").resolve()
    assert f"codesign --sign - --force --entitlements hypervisor.plist '{running}'" in str(caught.value)


def test_mapping_before_there_is_a_vm_says_so(standin: Standin, tmp_path: Path) -> None:
    standin.reset(PAGE)
    with Window(standin, tmp_path) as window:
        file = window.file()
        with pytest.raises(OSError, match=r"HV_NO_DEVICE.*hv_vm_create first"):
            window.map(file, 0)
        window.agree()
        assert standin.create() == Code.SUCCESS
        window.map(file, 0)
        window.agree()


def test_framework_with_larger_pages_than_the_host_refuses_and_nothing_stays(window: Window) -> None:
    window.standin.reset(4 * PAGE)
    window.standin.create()
    with pytest.raises(OSError, match=r"HV_BAD_ARGUMENT.*host's page"):
        window.map(window.file(), PAGE)
    window.agree()


def test_host_without_the_framework_gets_a_clear_error() -> None:
    with pytest.raises(OSError, match=r"Hypervisor\.framework.*/System/Library/Frameworks") as caught:
        HvfBackend()
    assert caught.value.errno == ENOTSUP


def test_library_that_is_not_the_framework_gets_a_clear_error(tmp_path: Path) -> None:
    for path in [tmp_path / "missing", Path(os.__file__)]:
        with pytest.raises(OSError, match=path.name) as caught:
            HvfBackend(framework=path)
        assert caught.value.errno == ENOTSUP
    with pytest.raises(OSError, match="hv_vm_map"):
        HvfBackend(framework="libc.so.6")


def test_backend_serves_one_mapper(standin: Standin) -> None:
    backend = HvfBackend(framework=str(standin.path))
    with DaxMapper(BASE, SIZE, backend), pytest.raises(ValueError, match="make a new one for each mapper"):
        DaxMapper(BASE, SIZE, backend)
