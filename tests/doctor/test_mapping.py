"""The main job: done where it can be, and told what stood in its way where it can't."""

import resource
import tempfile
from errno import EPERM
from pathlib import Path

import pytest

from daxmap.doctor.mapping import copies, mapping, proc_fact
from support.children import Body, Scenarios, name_of, run_in_child
from support.host import descriptors
from support.limits import limited, little_memory, no_more_files
from support.rig import Rig
from support.sandbox import COPIES, forbid, needs_root, needs_seccomp, without_proc

of_a_limit, of_seccomp, of_chroot = Scenarios(), Scenarios(), Scenarios()


@pytest.mark.parametrize("system", ["Linux", "Darwin"])
def test_page_is_mapped_by_the_backend_of_each_system(system: str) -> None:
    mapping(system)  # the first mapper of a process keeps /proc/self open
    before = descriptors()
    assert mapping(system).state == "ok"
    assert copies(system).state == "ok"
    assert descriptors() == before


def test_copies_are_made_by_one_call_where_that_is_allowed() -> None:
    assert copies("Linux").detail == "by process_vm_readv and process_vm_writev"


@pytest.mark.parametrize("directory", [None, tempfile.gettempdir()], ids=["no-directory", "no-room"])
def test_no_file_can_be_written(monkeypatch: pytest.MonkeyPatch, directory: str | None) -> None:
    monkeypatch.setattr(tempfile, "tempdir", directory)  # without one, tempfile looks for one by writing a file
    with limited(resource.RLIMIT_FSIZE, 0):  # Python ignores the signal: EFBIG
        fact = mapping("Linux")
    assert fact.state == "fail"
    assert fact.detail.startswith("there is no file to map")
    assert ("(EFBIG)" if directory else "(ENOENT)") in fact.detail
    assert "TMPDIR" in (fact.remedy or "")


def test_page_that_shows_something_else_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daxmap.doctor.mapping._load", lambda _address, length: bytes(length))  # no kernel does it
    fact = mapping("Linux")
    assert fact.state == "fail"
    assert "instead of b'daxmap doctor'" in fact.detail


def test_proc_is_there() -> None:
    assert proc_fact().state == "ok"


def test_proc_that_is_not_there_is_a_warning(tmp_path: Path) -> None:
    fact = proc_fact(str(tmp_path))
    assert fact.state == "warn"
    assert "(ENOENT)" in fact.detail
    assert "mount -t proc" in (fact.remedy or "")


@of_a_limit
def addresses_run_out(_rig: Rig) -> None:
    with little_memory(1 << 20):
        fact = mapping("Linux")
    assert fact.state == "fail"
    assert "(ENOMEM)" in fact.detail
    assert "RLIMIT_AS" in (fact.remedy or "")
    assert mapping("Linux").state == "ok"


@of_a_limit
def descriptors_run_out(_rig: Rig) -> None:
    assert mapping("Linux").state == "ok"  # from here on it needs nothing that is opened once
    with no_more_files():
        fact = mapping("Linux")
        assert "(EMFILE)" in proc_fact().detail
    assert fact.state == "fail"
    assert "(EMFILE)" in fact.detail


@of_seccomp
def copies_are_forbidden(_rig: Rig) -> None:
    forbid(COPIES, EPERM)
    fact = copies("Linux")
    assert fact.state == "warn"
    assert fact.detail.startswith("by /proc/self/mem")
    for call in ("process_vm_readv", "process_vm_writev"):
        assert f"{call} is refused: Operation not permitted (EPERM)" in fact.detail
    assert mapping("Linux").state == "ok"


@of_seccomp
def only_copies_to_the_guest_are_forbidden(_rig: Rig) -> None:
    forbid(COPIES[1:], EPERM)
    fact = copies("Linux")
    assert fact.state == "warn"
    assert "process_vm_readv is refused" not in fact.detail
    assert "process_vm_writev is refused" in fact.detail


@of_chroot
def copies_are_forbidden_and_there_is_no_proc(_rig: Rig) -> None:
    forbid(COPIES, EPERM)
    directory = Path(tempfile.gettempdir())
    with without_proc():
        directory.mkdir(parents=True, exist_ok=True)
        assert mapping("Linux").state == "ok"
        fact = copies("Linux")
        assert (fact.state, proc_fact().state) == ("warn", "warn")
    assert "don't work" in fact.detail
    assert "EPERM" in fact.detail


@pytest.mark.parametrize("body", of_a_limit, ids=name_of)
def test_limit(tmp_path: Path, body: Body) -> None:
    run_in_child(body, "host-window", tmp_path)


@needs_seccomp
@pytest.mark.parametrize("body", of_seccomp, ids=name_of)
def test_sandbox(tmp_path: Path, body: Body) -> None:
    run_in_child(body, "host-window", tmp_path)


@needs_root
@needs_seccomp
@pytest.mark.parametrize("body", of_chroot, ids=name_of)
def test_sandbox_without_proc(tmp_path: Path, body: Body) -> None:
    run_in_child(body, "host-window", tmp_path)
