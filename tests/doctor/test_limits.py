"""What the kernel limits, and that daxmap is limited as the doctor says."""

import platform
import re
import resource
from collections.abc import Callable
from errno import ENOSPC, EPERM
from pathlib import Path

import pytest

from daxmap import FileServer
from daxmap.doctor.fact import Fact
from daxmap.doctor.limits import max_map_count, overcommit, resource_limits
from daxmap.sizes import rough_size
from support.children import run_in_child
from support.limits import errno_of, limited
from support.rig import Rig
from support.sandbox import forbid, needs_seccomp
from support.windows import host_window

MIB = 1 << 20
PRLIMIT = {"x86_64": (302,), "aarch64": (261,)}.get(platform.machine(), ())  # prlimit64


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A place for sysctls, without any."""
    (tmp_path / "sys" / "vm").mkdir(parents=True)
    return tmp_path


def put(proc: Path, name: str, value: str) -> str:
    (proc / "sys" / "vm" / name).write_text(value)
    return str(proc)


def at_most(which: int, soft: int) -> int:
    """A limit that may be set here: no higher than the hard one."""
    hard = resource.getrlimit(which)[1]
    return soft if hard == resource.RLIM_INFINITY else min(soft, hard)


def limit(name: str) -> Fact:
    (fact,) = (fact for fact in resource_limits() if fact.name == name)
    return fact


def there_is_room_for_as_many_mappings_as_it_says(rig: Rig) -> None:
    match = re.search(r"room for (\d+) mappings", max_map_count().detail)
    assert match
    room = int(match[1])
    file = rig.file()
    with host_window(1 << 32, (room + 1) * 2 * MIB) as mapper:
        for index in range(room):
            mapper.setup_mapping(file.fd, 0, index * 2 * MIB, 2 * MIB, writable=False)
        assert errno_of(lambda: mapper.setup_mapping(file.fd, 0, room * 2 * MIB, 2 * MIB, writable=False)) == ENOSPC


def test_as_many_mappings_can_be_made_as_it_says(tmp_path: Path) -> None:
    run_in_child(there_is_room_for_as_many_mappings_as_it_says, "host-window", tmp_path)


def test_default_of_max_map_count_is_enough(proc: Path) -> None:
    fact = max_map_count(put(proc, "max_map_count", "65530\n"))
    assert (fact.state, fact.remedy) == ("ok", None)
    assert "16382 mappings" in fact.detail
    assert "31.9 GiB" in fact.detail


def test_less_than_the_default_is_a_warning(proc: Path) -> None:
    fact = max_map_count(put(proc, "max_map_count", "4096\n"))
    assert fact.state == "warn"
    assert "room for 1024 mappings" in fact.detail
    assert "2 GiB" in fact.detail
    assert fact.remedy == "sudo sysctl vm.max_map_count=65530"


@pytest.mark.parametrize("mode", ["0\n", "1\n"])
def test_overcommit_is_as_it_should_be(proc: Path, mode: str) -> None:
    assert overcommit(put(proc, "overcommit_memory", mode)).state == "ok"


def test_strict_accounting_is_a_warning(proc: Path) -> None:
    fact = overcommit(put(proc, "overcommit_memory", "2\n"))
    assert fact.state == "warn"
    assert "ENOMEM" in fact.detail
    assert "vm.overcommit_memory=0" in (fact.remedy or "")


@pytest.mark.parametrize("check", [max_map_count, overcommit])
def test_sysctl_that_cannot_be_read_names_the_errno(proc: Path, check: Callable[[str], Fact]) -> None:
    fact = check(str(proc))
    assert fact.state == "warn"
    assert "(ENOENT)" in fact.detail


@pytest.mark.parametrize("check", [max_map_count, overcommit])
def test_sysctl_that_is_no_number_is_a_warning(proc: Path, check: Callable[[str], Fact]) -> None:
    for name in ("max_map_count", "overcommit_memory"):
        put(proc, name, "many")
    assert check(str(proc)).state == "warn"


@pytest.mark.parametrize(("soft", "served"), [(127, False), (128, True)])
def test_it_knows_how_many_descriptors_a_file_server_needs(tmp_path: Path, soft: int, *, served: bool) -> None:
    with limited(resource.RLIMIT_NOFILE, soft):
        fact = limit("RLIMIT_NOFILE")
        if served:
            FileServer(tmp_path)
        else:
            with pytest.raises(ValueError, match="max_open is 63"):
                FileServer(tmp_path)
    assert fact.state == "warn"
    assert ("needs 128" in fact.detail) is not served


def test_usual_number_of_descriptors_is_enough() -> None:
    with limited(resource.RLIMIT_NOFILE, 1024):
        fact = limit("RLIMIT_NOFILE")
    assert fact.state == "ok"
    assert "at most 512 files open, 256 of them opened by its guest" in fact.detail


def test_locked_memory_is_told_and_does_no_harm() -> None:
    soft = at_most(resource.RLIMIT_MEMLOCK, 8 * MIB)
    with limited(resource.RLIMIT_MEMLOCK, soft):
        fact = limit("RLIMIT_MEMLOCK")
    assert fact.state == "ok"
    assert fact.detail.startswith(f"{rough_size(soft)}: ")


@pytest.mark.parametrize("name", ["RLIMIT_DATA", "RLIMIT_AS"])
def test_memory_without_a_limit_is_as_it_should_be(name: str) -> None:
    which = getattr(resource, name)
    if resource.getrlimit(which)[1] != resource.RLIM_INFINITY:
        pytest.skip(f"the hard limit of {name} is lower")
    with limited(which, resource.RLIM_INFINITY):
        fact = limit(name)
    assert (fact.state, fact.detail) == ("ok", "unlimited")


@pytest.mark.parametrize("name", ["RLIMIT_DATA", "RLIMIT_AS"])
def test_limited_memory_is_a_warning(name: str) -> None:
    which = getattr(resource, name)
    soft = at_most(which, 1 << 40)
    with limited(which, soft):
        fact = limit(name)
    assert fact.state == "warn"
    assert re.match(rf"{rough_size(soft)}, \S+ [GM]iB left: ", fact.detail)
    assert "ulimit" in (fact.remedy or "")


def test_limited_memory_without_proc_is_told_without_what_is_left(tmp_path: Path) -> None:
    soft = at_most(resource.RLIMIT_AS, 1 << 40)
    with limited(resource.RLIMIT_AS, soft):
        (fact,) = (fact for fact in resource_limits(str(tmp_path)) if fact.name == "RLIMIT_AS")
    assert fact.detail.startswith(f"{rough_size(soft)}: a window")


def limits_are_secret(_rig: Rig) -> None:
    forbid(PRLIMIT, EPERM)
    facts = list(resource_limits())
    assert len(facts) == 4
    assert all(fact.state == "warn" and "(EPERM)" in fact.detail for fact in facts)


@needs_seccomp
def test_limits_that_a_sandbox_hides(tmp_path: Path) -> None:
    run_in_child(limits_are_secret, "host-window", tmp_path)
