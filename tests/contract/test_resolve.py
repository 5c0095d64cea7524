"""Memory of the window that is lent to the VMM's other devices."""

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from errno import EACCES, EBUSY, EEXIST, EFAULT, ENODEV, ENOTSUP
from pathlib import Path

import pytest

from conftest import open_rig
from support.forks import in_fork
from support.host import HOLE, PAGE, peek, poke, shown_in
from support.python_backend_rig import PythonBackendRig
from support.rig import Subject
from support.rigs import RIGS, HostWindowRig

START = 4 * PAGE
LENGTH = 4 * PAGE

Pieces = list[tuple[int, int]]


@pytest.fixture(params=[name for name in RIGS if name != "python-backend"])
def lender(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    """A mapper that can lend: with a writable mapping of four pages, and a read-only one right behind it."""
    with open_rig(request.param, tmp_path) as rig:
        subject = rig.open()
        subject.map(rig.file(), START, LENGTH, writable=True)
        subject.map(rig.file(), START + LENGTH, LENGTH)
        yield subject


def resolve(subject: Subject, offset: int, length: int, *, writable: bool = False) -> AbstractContextManager[Pieces]:
    return subject.mapper.resolve(subject.mapper.base + offset, length, writable=writable)


@pytest.mark.parametrize(("offset", "length"), [(0, 1), (0, LENGTH), (1, 7), (PAGE - 1, 2), (LENGTH - 1, 1)])
def test_bytes_of_the_file_are_where_it_says(lender: Subject, offset: int, length: int) -> None:
    file = lender.model[START].file
    with lender.untouched(), resolve(lender, START + offset, length, writable=True) as pieces:
        [(address, size)] = pieces
        assert size == length
        assert peek(address, length) == file.read(offset, length)
    with resolve(lender, START + offset, length, writable=True) as [(address, _)]:
        assert poke(address, b"!" * length)
    assert file.read(offset, length) == b"!" * length
    lender.agree()


def test_pieces_across_mappings_hold_the_range_in_order(lender: Subject) -> None:
    first, second = lender.model[START].file, lender.model[START + LENGTH].file
    with resolve(lender, START + PAGE + 1, LENGTH) as pieces:
        assert sum(length for _, length in pieces) == LENGTH
        seen = b"".join(peek(address, length) or b"" for address, length in pieces)
    assert seen == first.read(PAGE + 1, LENGTH - PAGE - 1) + second.read(0, PAGE + 1)


def test_nothing_is_lent_anywhere(lender: Subject) -> None:
    for offset in (0, START, 2**40):
        with resolve(lender, offset, 0, writable=True) as pieces:
            assert pieces == []
            lender.map(lender.rig.file(), 0)
            lender.remove(0)


@pytest.mark.parametrize(
    ("offset", "length", "writable", "errno"),
    [
        (0, 1, False, EFAULT),
        (START - 1, 2, False, EFAULT),
        (START + 2 * LENGTH - 1, 2, False, EFAULT),
        (2**40, 1, False, EFAULT),
        (START + LENGTH, 1, True, EACCES),
        (START + LENGTH - 1, 2, True, EACCES),
    ],
)
def test_what_cannot_be_lent(lender: Subject, offset: int, length: int, writable: bool, errno: int) -> None:  # noqa: FBT001
    with lender.refused(errno), resolve(lender, offset, length, writable=writable):
        pass


CHANGES: dict[str, Callable[[Subject], object]] = {
    "remove_mapping": lambda s: s.mapper.remove_mapping(START, LENGTH),
    "remove_range": lambda s: s.mapper.remove_range(START, LENGTH),
    "remove_range of another page": lambda s: s.mapper.remove_range(START, PAGE),
    "remove_range from a hole into it": lambda s: s.mapper.remove_range(0, START + PAGE),
    "replace": lambda s: s.map(s.rig.file(), START, LENGTH, replace=True),
    "replace a page": lambda s: s.map(s.rig.file(), START + PAGE, PAGE, replace=True),
    "replace by the same": lambda s: s.map(s.model[START].file, START, LENGTH, writable=True, replace=True),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_is_lent_cannot_be_changed_before_the_block_ends(
    lender: Subject, change: Callable[[Subject], object]
) -> None:
    with resolve(lender, START + 2 * PAGE, 1), lender.refused(EBUSY) as refused:
        change(lender)
    assert "lent to a device" in str(refused.value)
    change(lender)


def test_upgrade_is_refused_meanwhile(lender: Subject) -> None:
    file = lender.model[START + LENGTH].file
    with resolve(lender, START + LENGTH, 1), lender.refused(EBUSY):
        lender.map(file, START + LENGTH, LENGTH, writable=True)
    lender.map(file, START + LENGTH, LENGTH, writable=True)
    lender.agree()


def test_file_that_became_another_one_is_mapped_again_meanwhile(lender: Subject) -> None:
    """On overlayfs: the guest would go on reading the lower file, and has no way to ask again."""
    with resolve(lender, START + LENGTH, 1) as [(address, _)]:
        with lender.model[START + LENGTH].file.opened(os.O_RDWR) as same:
            assert lender.mapper.refresh(same.fd) == 1
        assert peek(address, 1) is not None
    lender.agree()


def test_batch_removes_all_the_others(lender: Subject) -> None:
    with resolve(lender, START, 1):
        result = lender.mapper.remove_mappings([(START, LENGTH), (START + LENGTH, LENGTH)])
        assert (result.removed, result.failed) == (1, [(START, LENGTH, EBUSY)])
        del lender.model[START + LENGTH]
        lender.agree()
    lender.remove(START, LENGTH)


def test_removal_of_a_range_takes_all_the_others(lender: Subject) -> None:
    with resolve(lender, START, 1), pytest.raises(OSError, match="lent") as caught:
        lender.mapper.remove_range(0, lender.mapper.size)
    assert caught.value.errno == EBUSY
    del lender.model[START + LENGTH]
    lender.agree()


def test_others_are_changed_meanwhile(lender: Subject) -> None:
    with resolve(lender, START, 1):
        lender.remove(START + LENGTH, LENGTH)
        lender.map(lender.rig.file(), START + LENGTH, writable=True)
        lender.map(lender.rig.file(), 0)
        lender.agree()


def test_two_blocks_over_one_range_both_have_to_end(lender: Subject) -> None:
    with resolve(lender, START, 1):
        with resolve(lender, START, LENGTH):
            pass
        with lender.refused(EBUSY):
            lender.mapper.remove_mapping(START, LENGTH)
    lender.remove(START, LENGTH)


def test_overlap_is_told_before_the_loan(lender: Subject) -> None:
    with resolve(lender, START, 1), lender.refused(EEXIST):
        lender.map(lender.rig.file(), START)


def test_reset_takes_the_range_from_the_guest_and_keeps_its_addresses(lender: Subject) -> None:
    rig = lender.rig
    with resolve(lender, START, LENGTH, writable=True) as pieces:
        lender.mapper.reset()
        lender.model.clear()
        assert rig.load(lender.mapper, START) is None
        with pytest.raises(OSError, match="lent to a device") as caught:
            lender.map(rig.file(), START)  # another file would be where the device still writes
        assert caught.value.errno == EBUSY
        others = [rig.file() for _ in range(8)]
        neighbour = rig.open()
        for number, file in enumerate(others):
            neighbour.map(file, number * PAGE, writable=True)
        for address, length in pieces:
            poke(address, b"!" * length)
        assert all(b"!!!!" not in file.read(0, PAGE) for file in others)
    lender.map(rig.file(), START, LENGTH)
    lender.agree()


def test_drain_keeps_the_addresses_until_the_block_ends(lender: Subject) -> None:
    with resolve(lender, START, LENGTH) as pieces:
        lender.mapper.drain_all()
        lender.release()
        for address, length in pieces:
            assert shown_in(address, address + length), "memory of others may land there"
        with pytest.raises(OSError, match="closed") as caught, resolve(lender, START, 1):
            pass
        assert caught.value.errno == ENODEV
    lender.abandon()


def test_host_window_is_freed_when_the_last_block_ends(window_rig: HostWindowRig) -> None:
    subject = window_rig.open()
    subject.map(window_rig.file(), START, LENGTH)
    with ExitStack() as first, ExitStack() as second:
        [(address, length)] = first.enter_context(resolve(subject, START, LENGTH))
        second.enter_context(resolve(subject, START + PAGE, PAGE))
        subject.mapper.drain_all()
        subject.release()
        subject.abandon()
        first.close()
        assert [piece.shown for piece in shown_in(address, address + length)] == [HOLE]
    assert HOLE not in [piece.shown for piece in shown_in(address, address + length)]


def test_system_call_in_a_range_that_reset_took_is_efault(window_rig: HostWindowRig) -> None:
    subject = window_rig.open()
    subject.map(window_rig.file(), START, LENGTH, writable=True)
    with resolve(subject, START, PAGE, writable=True) as [(address, length)]:
        assert peek(address, length) is not None
        subject.mapper.reset()
        subject.model.clear()
        assert peek(address, length) is None


def test_blocks_that_are_dropped_end(lender: Subject) -> None:
    loan = resolve(lender, START, 1)
    loan.__enter__()
    with lender.refused(EBUSY):
        lender.mapper.remove_mapping(START, LENGTH)
    del loan
    gc.collect()
    lender.remove(START, LENGTH)


def test_one_block_at_a_time_for_each_call(lender: Subject) -> None:
    loan = resolve(lender, START, 1)
    with loan:
        with pytest.raises(RuntimeError, match="call resolve"):
            loan.__enter__()
        with lender.refused(EBUSY):
            lender.mapper.remove_mapping(START, LENGTH)
    with loan:
        pass
    lender.remove(START, LENGTH)


def test_child_that_leaves_the_block_leaves_the_parents_memory_alone(lender: Subject) -> None:
    with resolve(lender, START, LENGTH) as [(address, length), *_]:
        loan = resolve(lender, START, 1)
        loan.__enter__()

        def leave() -> None:
            loan.__exit__(None, None, None)

        in_fork(leave)
        assert peek(address, length) == lender.model[START].file.read(0, length)
        with lender.refused(EBUSY):
            lender.mapper.remove_mapping(START, LENGTH)
        loan.__exit__(None, None, None)


def test_backend_of_the_vmms_own_has_nothing_to_lend(tmp_path: Path) -> None:
    with PythonBackendRig(tmp_path) as rig:
        subject = rig.open()
        subject.map(rig.file(), START)
        with subject.refused(ENOTSUP), resolve(subject, START, 1):
            pass


def test_many_blocks_leave_nothing_behind(lender: Subject) -> None:
    before = lender.rig.mapped()
    for _ in range(200):
        with resolve(lender, START, LENGTH), resolve(lender, START + PAGE, LENGTH):
            pass
    assert lender.rig.mapped() == before
    lender.mapper.remove_range(START, 2 * LENGTH)
    lender.model.clear()
    lender.agree()
