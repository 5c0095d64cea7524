"""Whether KVM, or Hypervisor.framework, can be used, and how to get there."""

import getpass
import grp
import os
import platform
from collections.abc import Iterator
from errno import ENXIO, EPERM
from pathlib import Path

import pytest

from daxmap.doctor.hvf import hvf
from daxmap.doctor.kvm import capabilities, kvm
from hvf.standin import Code, Operation, Standin, stand_in
from support.children import Body, Scenarios, name_of, run_in_child
from support.host import PAGE, descriptors
from support.rig import Rig
from support.sandbox import DAC, drop_capabilities, needs_root

USER_MEMORY, NR_MEMSLOTS, SYNC_MMU, READONLY_MEM = 3, 10, 16, 81
ALL = {USER_MEMORY: 1, NR_MEMSLOTS: 509, SYNC_MMU: 1, READONLY_MEM: 1}

# A group that this process is not in: a host may have none.
OTHER_GROUP = next(
    (group for group in grp.getgrall() if group.gr_gid not in {0, *os.getgroups()} and not group.gr_mem), None
)

anyone, root, other_group = Scenarios(), Scenarios(), Scenarios()


@pytest.mark.usefixtures("needs_kvm")
def test_kvm_of_this_host() -> None:
    list(kvm())  # the first mapper of a process keeps /proc/self open
    before = descriptors()
    facts = list(kvm())
    assert [(fact.name, fact.state) for fact in facts] == [
        ("kvm", "ok"),
        ("KVM_CAP_USER_MEMORY", "ok"),
        ("KVM_CAP_SYNC_MMU", "ok"),
        ("KVM_CAP_READONLY_MEM", "ok"),
        ("KVM_CAP_NR_MEMSLOTS", "ok"),
    ]
    assert int(facts[-1].detail.split()[0]) >= 32
    assert descriptors() == before


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "remedy"),
    [
        ("x86_64", "flags\t\t: fpu vmx sse\n", "kvm_intel"),
        ("x86_64", "flags\t\t: fpu svm sse\n", "kvm_amd"),
        ("x86_64", "flags\t\t: fpu sse\n", "firmware"),
        ("x86_64", None, "firmware"),
        ("aarch64", "Features\t: fp asimd\n", "EL2"),
    ],
)
def test_no_device_names_what_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str, cpuinfo: str | None, remedy: str
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    if cpuinfo is not None:
        (tmp_path / "cpuinfo").write_text(cpuinfo)
    (fact,) = kvm(str(tmp_path / "kvm"), proc=str(tmp_path))
    assert fact.state == "warn"
    assert f"{tmp_path}/kvm: No such file or directory (ENOENT)" in fact.detail
    assert remedy in (fact.remedy or "")
    assert ("modprobe" in (fact.remedy or "")) == remedy.startswith("kvm_")


def test_device_that_is_none() -> None:
    (fact,) = kvm(os.devnull)
    assert fact.state == "warn"
    assert "(ENOTTY)" in fact.detail
    assert "is no KVM device" in (fact.remedy or "")


def remedy_without_right(device: Path) -> str:
    drop_capabilities(*DAC)
    (fact,) = kvm(str(device))
    assert fact.state == "warn"
    assert "(EACCES)" in fact.detail
    return fact.remedy or ""


def device_of(rig: Rig, mode: int, group: int | None = None) -> Path:
    """A file that this process may not open, once it has no capabilities left."""
    path = rig.file().path
    if group is not None:
        os.chown(path, -1, group)
    path.chmod(mode)
    return path


@anyone
def no_group_has_the_right(rig: Rig) -> None:
    device = device_of(rig, 0o000)
    assert f"sudo chgrp kvm {device} && sudo chmod 660 {device}" in remedy_without_right(device)


@root
def a_group_may_only_read(rig: Rig) -> None:
    assert "chmod 660" in remedy_without_right(device_of(rig, 0o040, 54321))


@root
def the_group_is_that_of_root(rig: Rig) -> None:
    """Which nobody should join."""
    assert "chgrp kvm" in remedy_without_right(device_of(rig, 0o060, 0))


@other_group
def another_group_has_the_right(rig: Rig) -> None:
    assert OTHER_GROUP is not None
    device = device_of(rig, 0o060, OTHER_GROUP.gr_gid)
    assert f"sudo usermod -aG {OTHER_GROUP.gr_name} {getpass.getuser()}" in remedy_without_right(device)


@root
def another_group_without_a_name_has_the_right(rig: Rig) -> None:
    assert "sudo usermod -aG 54321 " in remedy_without_right(device_of(rig, 0o060, 54321))


@root
def the_user_has_joined_the_group_since(rig: Rig) -> None:
    user = getpass.getuser()
    group = grp.struct_group(("kvm", "x", 54321, [user]))
    with pytest.MonkeyPatch.context() as patch:  # the host's own groups are to stay as they are
        patch.setattr(grp, "getgrgid", lambda _number: group)
        remedy = remedy_without_right(device_of(rig, 0o060, 54321))
    assert remedy == f"log in again: {user} has joined the group kvm since"


@root
def the_user_has_no_name(rig: Rig) -> None:
    """As where a container runs under a number of its own."""

    def unnamed() -> str:
        raise OSError(ENXIO, "No username set in the environment")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(getpass, "getuser", unnamed)
        remedy = remedy_without_right(device_of(rig, 0o060, 54321))
    assert remedy == "`sudo usermod -aG 54321 $USER`, then log in again"


@pytest.mark.parametrize("body", anyone, ids=name_of)
def test_no_right_to_open_the_device(tmp_path: Path, body: Body) -> None:
    run_in_child(body, "host-window", tmp_path)


@needs_root
@pytest.mark.parametrize("body", root, ids=name_of)
def test_no_right_to_open_the_device_of_a_group(tmp_path: Path, body: Body) -> None:
    run_in_child(body, "host-window", tmp_path)


@needs_root
@pytest.mark.skipif(OTHER_GROUP is None, reason="this process is in every group that the host has a name for")
@pytest.mark.parametrize("body", other_group, ids=name_of)
def test_no_right_to_open_the_device_of_a_group_with_a_name(tmp_path: Path, body: Body) -> None:
    run_in_child(body, "host-window", tmp_path)


def test_no_right_to_look_for_the_device(tmp_path: Path) -> None:
    """As where a folder of its may not be entered. Root may enter all: so this is a name that leads round and round."""
    device = tmp_path / "kvm"
    device.symlink_to(device)
    (fact,) = kvm(str(device))
    assert fact.state == "warn"
    assert fact.remedy == f"give this process the right to open {device}"


def test_sandbox_that_keeps_the_device_from_being_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that is neither its absence nor its rights': of seccomp, or of the cgroup's list of devices."""

    def refuse(*_: object) -> int:
        raise PermissionError(EPERM, os.strerror(EPERM))

    monkeypatch.setattr(os, "open", refuse)
    (fact,) = kvm(str(tmp_path))
    assert fact.remedy == f"let the container or sandbox use {tmp_path}"


def test_number_of_slots_is_told() -> None:
    facts = {fact.name: fact for fact in capabilities(lambda number: ALL[number])}
    assert {fact.state for fact in facts.values()} == {"ok"}
    assert facts["KVM_CAP_NR_MEMSLOTS"].detail.startswith("509 ")


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (USER_MEMORY, "KVM_CAP_USER_MEMORY"),
        (SYNC_MMU, "KVM_CAP_SYNC_MMU"),
        (READONLY_MEM, "KVM_CAP_READONLY_MEM"),
        (NR_MEMSLOTS, "KVM_CAP_NR_MEMSLOTS"),
    ],
)
def test_missing_capability_is_a_warning(number: int, name: str) -> None:
    facts = capabilities(lambda asked: 0 if asked == number else ALL[asked])
    assert [fact.name for fact in facts if fact.state == "warn"] == [name]


@pytest.fixture
def standin() -> Iterator[Standin]:
    """The stand-in for Hypervisor.framework, without a VM."""
    standin = stand_in()
    standin.reset(PAGE)
    yield standin
    standin.reset(PAGE)


def test_framework_lets_a_vm_be_made(standin: Standin) -> None:
    assert hvf(standin.path).state == "ok"
    assert standin.operations() == [Operation.CREATE, Operation.DESTROY]


def test_framework_refuses_a_vm(standin: Standin) -> None:
    standin.create()
    fact = hvf(standin.path)
    assert fact.state == "warn"
    assert f"{Code.BUSY:#x}" in fact.detail
    assert standin.operations() == [Operation.CREATE, Operation.CREATE]


def test_program_without_the_entitlement(standin: Standin) -> None:
    standin.deny()
    fact = hvf(standin.path)
    assert fact.state == "warn"
    assert "HV_DENIED" in fact.detail
    assert "sign it" in (fact.remedy or "")


def test_no_framework_is_a_warning() -> None:
    fact = hvf("/nowhere/Hypervisor")
    assert fact.state == "warn"
    assert "(ENOTSUP)" in fact.detail or "(EOPNOTSUPP)" in fact.detail
