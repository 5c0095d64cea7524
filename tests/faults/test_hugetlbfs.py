"""Files of hugetlbfs: the kernel maps whole huge pages of them, so no request of a guest may lead to such a mapping."""

import gc
import os
import platform
import random
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENODEV, EPERM
from pathlib import Path

import pytest

from daxmap import DaxMapper, HostWindowBackend
from support.children import run_in_child
from support.host import PAGE, shown_in, vmas
from support.rig import Rig
from support.rigs import address_of
from support.sandbox import forbid, needs_seccomp

HUGE_PAGES = Path("/proc/sys/vm/nr_hugepages")
HUGE = 2 << 20
SIZES = {"default": 0, "2 MiB": 21 << 26, "1 GiB": 30 << 26}
"""MFD_HUGE_2MB and MFD_HUGE_1GB of include/uapi/linux/memfd.h."""


@contextmanager
def huge_pages(count: int) -> Iterator[None]:
    """The host sets so many huge pages aside."""
    before = HUGE_PAGES.read_text()
    try:
        HUGE_PAGES.write_text(str(count))
    except OSError as error:
        pytest.skip(f"no huge pages can be set aside: {error}")
    try:
        if int(HUGE_PAGES.read_text()) < count:
            pytest.skip(f"the host could not set {count} huge pages aside")
        yield
    finally:
        HUGE_PAGES.write_text(before)


def huge_file(size: int) -> int:
    """A memfd of huge pages. None has to be there for it to be made and looked at."""
    try:
        fd = os.memfd_create("huge", os.MFD_HUGETLB | size)
    except OSError as error:
        pytest.skip(f"the kernel has no huge pages of this size: {error}")
    return fd


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("writable", [False, True], ids=["read-only", "writable"])
def test_is_refused_before_any_mapping(rig: Rig, size: int, *, writable: bool) -> None:
    subject = rig.open()
    subject.map(rig.file(), 0)
    fd = huge_file(size)
    try:
        for length in (PAGE, HUGE, 2 * HUGE):
            for replace in (False, True):
                with subject.refused(ENODEV) as caught:
                    subject.mapper.setup_mapping(fd, 0, 0, length, writable, replace=replace)
                assert "hugetlbfs" in str(caught.value)
        with subject.refused(ENODEV):
            subject.mapper.refresh(fd)
    finally:
        os.close(fd)


@pytest.mark.parametrize("readonly", [False, True], ids=["writable", "read-only"])
def test_requests_at_random_leave_no_gap_and_take_no_area(*, readonly: bool) -> None:
    """Neither in the window, nor behind it; on hosts that can give such a file its pages."""
    with huge_pages(4):
        fd = huge_file(SIZES["2 MiB"])
        os.ftruncate(fd, 2 * HUGE)
        backend = HostWindowBackend()
        window = DaxMapper(1 << 32, 8 * HUGE, backend, readonly=readonly)
        with window as mapper, Path(__file__).open("rb") as file:
            for number in range(0, 64, 2):
                mapper.setup_mapping(file, 0, number * PAGE, PAGE, writable=False)
            start = address_of(mapper)
            behind = start + mapper.size + 4 * HUGE
            gc.collect()  # what other tests left behind the window goes now
            before, areas = shown_in(start, behind), len(list(vmas()))
            dice = random.Random(1)  # noqa: S311
            for _ in range(10_000):
                offset, length = dice.randrange(8 * HUGE // PAGE) * PAGE, dice.choice([PAGE, 3 * PAGE, HUGE])
                writable, replace = dice.random() < 0.5, dice.random() < 0.5
                with pytest.raises(OSError, match=r"hugetlbfs|window|read-only"):
                    mapper.setup_mapping(fd, dice.randrange(3) * PAGE, offset, length, writable, replace=replace)
            assert shown_in(start, behind) == before
            assert len(list(vmas())) <= areas + 2, "the interpreter's own"
        backend.release()
        os.close(fd)


FSTATFS = {"x86_64": 138, "aarch64": 44}.get(platform.machine())


@needs_seccomp
@pytest.mark.skipif(FSTATFS is None, reason="the number of fstatfs(2) is not known here")
def test_is_refused_where_the_file_system_cannot_be_asked(tmp_path: Path) -> None:
    run_in_child(without_fstatfs, "host-window", tmp_path)


def without_fstatfs(rig: Rig) -> None:
    """A sandbox that forbids fstatfs(2)."""
    fd = os.memfd_create("huge", os.MFD_HUGETLB)
    subject = rig.open()
    assert FSTATFS is not None
    forbid((FSTATFS,), EPERM)
    with subject.refused(ENODEV):
        subject.mapper.setup_mapping(fd, 0, 0, PAGE, writable=False)
    subject.map(rig.file(), 0)
    os.close(fd)
