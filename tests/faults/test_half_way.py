"""Files for which MAP_FIXED fails after the kernel took away what was there before, on a real file system.

Whether a file of FUSE can be mapped is for its server to say at each open. So each is tried elsewhere first.
"""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from errno import EIO, ENODEV
from functools import wraps
from pathlib import Path

import pytest

from support import fuse_share
from support.children import Body, Scenarios, name_of, run_in_child
from support.fuse_share import CONTENT, FICKLE, MAPPABLE, STUBBORN
from support.host import HOLE, PAGE, Piece, peek, shown_in, vmas
from support.limits import errno_of
from support.racers import Visitor, visiting
from support.rig import Rig, Subject
from support.rigs import address_of

SLOT = 2 << 20
SCENARIOS = Scenarios()


class Share:
    """A share of such files, and a window in which its device is proven for both accesses."""

    def __init__(self, rig: Rig, stack: ExitStack) -> None:
        self._stack = stack
        (mount := Path(rig.file().path.parent, "share")).mkdir()
        self._directory = stack.enter_context(fuse_share.mounted(mount))
        self._rig = rig
        self.mappable = self.open(MAPPABLE, os.O_RDWR)
        self.stubborn = self.open(STUBBORN, os.O_RDWR)
        self.open_window()

    def open_window(self) -> None:
        """The next window."""
        self.subject: Subject = self._rig.open(16 * SLOT)
        self._stack.callback(finish, self.subject)
        for writable in (False, True):
            assert self.setup(self.mappable, 0, writable=writable) == 0
        self.subject.mapper.reset()

    def open(self, name: str, flags: int) -> int:
        fd = os.open(self._directory / name, flags)
        self._stack.callback(os.close, fd)
        return fd

    def setup(self, fd: int, offset: int, length: int = PAGE, *, writable: bool = False) -> int:
        return errno_of(lambda: self.subject.mapper.setup_mapping(fd, 0, offset, length, writable))

    def bounds(self) -> tuple[int, int]:
        start = address_of(self.subject.mapper)
        return start, start + self.subject.mapper.size

    def shown(self) -> list[Piece]:
        return shown_in(*self.bounds())

    def areas(self) -> int:
        low, high = self.bounds()
        return sum(low <= vma.start < high for vma in vmas())


def finish(subject: Subject) -> None:
    """Leave nothing of the file system mapped when it is unmounted; a window that was given up stays reserved."""
    gave_up = subject.mapper.closed
    subject.mapper.drain_all()
    assert errno_of(subject.release) in ({0, EIO} if gave_up else {0})
    subject.abandon()


def scenario(body: Callable[[Share], None]) -> Body:
    @wraps(body)
    def with_a_share(rig: Rig) -> None:
        with ExitStack() as stack:
            body(Share(rig, stack))

    return SCENARIOS(with_a_share)


@scenario
def setup_that_fails_half_way_leaves_a_hole(share: Share) -> None:
    before = share.shown()
    for writable in (False, True):
        for length in (PAGE, SLOT, 3 * SLOT):
            assert share.setup(share.stubborn, 4 * PAGE, length, writable=writable) == ENODEV
            assert share.shown() == before
    assert not share.subject.mapper.closed
    assert share.setup(share.mappable, 4 * PAGE) == 0
    assert peek(address_of(share.subject.mapper) + 4 * PAGE, PAGE) == CONTENT[:PAGE]


@scenario
def upgrade_by_a_descriptor_that_cannot_be_mapped_leaves_the_mapping(share: Share) -> None:
    """The device is proven for both accesses, and still the second descriptor of this very file can't be mapped."""
    assert share.setup(share.open(FICKLE, os.O_RDONLY), 0) == 0
    before = share.shown()
    writable = share.open(FICKLE, os.O_RDWR)
    mapper = share.subject.mapper
    for offset, length in ((0, PAGE), (0, 2 * PAGE)):
        with pytest.raises(OSError, match="No such device") as caught:
            mapper.setup_mapping(writable, 0, offset, length, writable=True, replace=True)
        assert caught.value.errno == ENODEV
    assert errno_of(lambda: mapper.refresh(writable)) == ENODEV
    assert share.shown() == before
    assert peek(address_of(mapper), PAGE) == CONTENT[:PAGE]
    stats = mapper.stats()
    assert (stats.lost_count, stats.live_mappings) == (0, 1)


@scenario
def refusals_use_up_no_areas(share: Share) -> None:
    """A guest that asks for stubborn files all over the window splits no hole for good."""
    before = share.areas()
    for slot in (0, SLOT):
        for page in range(0, 64, 2):
            assert share.setup(share.stubborn, slot + page * PAGE) == ENODEV
    for page in range(1, 64, 2):
        assert share.setup(share.stubborn, SLOT + page * PAGE, 2 * SLOT) == ENODEV
    assert share.areas() == before


@scenario
def device_that_failed_once_is_tried_elsewhere_from_then_on(share: Share) -> None:
    """Or a guest could repeat it until another thread's memory lands in the gap."""
    assert share.setup(share.stubborn, 0) == ENODEV
    with visitor_of(share.subject) as visitor:
        assert {share.setup(share.stubborn, number % 8 * SLOT, 2 * SLOT) for number in range(2000)} == {ENODEV}
        assert share.setup(share.mappable, 0) == 0
    assert visitor.landed == 0


@scenario
def nobodys_memory_stays_in_a_window(share: Share) -> None:
    """There is no gap in which it could land."""
    for _ in range(30):
        share.open_window()
        low, high = share.bounds()
        with visitor_of(share.subject):
            answer = share.setup(share.stubborn, 0, 2 * SLOT)
        assert answer == ENODEV
        assert share.shown() == [Piece(low, high, HOLE)]


def visitor_of(subject: Subject) -> AbstractContextManager[Visitor]:
    """A thread of the preloaded library."""
    low = address_of(subject.mapper)
    return visiting(Path(os.environ["LD_PRELOAD"]), low, low + subject.mapper.size)


@pytest.mark.parametrize("body", SCENARIOS, ids=name_of)
def test_half_way(window_backend: str, tmp_path: Path, compile_c: Callable[[str], Path], body: Body) -> None:
    fuse_share.skip_without_fuse()
    run_in_child(body, window_backend, tmp_path, preload=compile_c("threads"))
