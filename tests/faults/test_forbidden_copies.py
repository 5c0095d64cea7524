"""A sandbox that forbids process_vm_readv: the mapper's own read and write find another way, or name the call."""

from collections.abc import Iterator
from contextlib import contextmanager
from errno import EACCES, EFAULT, ENOSYS, EPERM
from pathlib import Path

import pytest

from support.children import Body, Scenarios, name_of, run_in_child
from support.host import PAGE, peek
from support.rig import Rig, Subject
from support.sandbox import COPIES, forbid, needs_root, needs_seccomp, without_proc

scenario = Scenarios()

pytestmark = needs_seccomp


def opened(rig: Rig) -> Subject:
    """A mapper with a writable and a read-only mapping of a file that ends between pages, the last of them missing."""
    subject = rig.open(4 << 20)
    for window_offset, writable in ((0, True), (4 * PAGE, False)):
        file = rig.file(2)
        subject.map(file, window_offset, 3 * PAGE, writable=writable)
    return subject


@contextmanager
def refused(errno: int, message: str) -> Iterator[None]:
    with pytest.raises(OSError, match=message) as caught:
        yield
    assert caught.value.errno == errno


def check_copies(subject: Subject) -> None:
    mapper = subject.mapper
    writable, read_only = subject.rig.files
    before = read_only.read(0, 2 * PAGE)
    assert peek(mapper.host_address or 0, 1) is None, "the kernel itself would still copy"
    assert mapper.read(mapper.base, 2 * PAGE) == writable.read(0, 2 * PAGE)
    assert mapper.read(mapper.base + 4 * PAGE + 1, PAGE) == before[1 : 1 + PAGE]
    mapper.write(mapper.base + PAGE - 2, b"abcd")
    assert writable.read(PAGE - 2, 4) == b"abcd"
    with refused(EACCES, "read-only mapping"):
        mapper.write(mapper.base + 4 * PAGE, b"no")
    with refused(EFAULT, "past the end of its file, which has 8192 bytes"):
        mapper.read(mapper.base + PAGE, 2 * PAGE)
    with refused(EFAULT, "past the end of its file"):
        mapper.write(mapper.base + 2 * PAGE, b"no")
    with refused(EFAULT, "hole"):
        mapper.read(mapper.base + 3 * PAGE - 1, 2)
    with refused(EFAULT, "hole"):
        mapper.write(mapper.base + 3 * PAGE, b"no")
    assert read_only.read(0, 2 * PAGE) == before
    assert mapper.stats().errors == {EACCES: 1, EFAULT: 4}


@scenario
def copies_go_through_proc_self_mem_where_the_call_is_not_permitted(rig: Rig) -> None:
    subject = opened(rig)
    forbid(COPIES, EPERM)
    check_copies(subject)


@scenario
def copies_go_through_proc_self_mem_where_the_call_is_unknown(rig: Rig) -> None:
    subject = opened(rig)
    forbid(COPIES, ENOSYS)
    check_copies(subject)


@scenario
def copies_go_on_where_proc_is_gone(rig: Rig) -> None:
    subject = opened(rig)
    forbid(COPIES, EPERM)
    with without_proc():
        check_copies(subject)


@scenario
def what_is_forbidden_is_named_where_there_is_no_other_way(rig: Rig) -> None:
    with without_proc():
        subject = rig.open(4 << 20)
    file = rig.file()
    subject.map(file, 0, writable=True)
    forbid(COPIES, EPERM)
    before = file.read(0, PAGE)
    with without_proc():
        for _ in range(2):
            with refused(EPERM, r"process_vm_readv\(2\) and /proc/self/mem: Operation not permitted"):
                subject.mapper.read(subject.mapper.base, 1)
            with refused(EPERM, r"process_vm_writev\(2\) and /proc/self/mem: Operation not permitted"):
                subject.mapper.write(subject.mapper.base, b"x")
    assert file.read(0, PAGE) == before
    assert len(subject.mapper.read(subject.mapper.base, 1)) == 1, "there is a way again"


@needs_root
@pytest.mark.parametrize("backend", ["host-window", "kvm", "hypervisor"])
@pytest.mark.parametrize("body", scenario, ids=name_of)
def test_copies(backend: str, tmp_path: Path, body: Body) -> None:
    run_in_child(body, backend, tmp_path)
