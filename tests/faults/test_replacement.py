"""System calls that fail while mappings are replaced, or a range is removed that cuts them.

Each scenario runs in a process of its own, in which tests/support/faults.c stands between the mapper and the kernel.
"""

import logging
from collections.abc import Iterator
from errno import EIO, ENODEV, ENOMEM, ENOSPC
from functools import partial
from pathlib import Path

import pytest

from support import faults
from support.children import Body, Scenarios, name_of, run_in_child
from support.damage import check_given_up
from support.faults import Call, Effect, Fault
from support.host import PAGE
from support.limits import errno_of
from support.records import recording
from support.rig import Rig, Subject
from support.rigs import address_of

PLACES = {
    "its whole": (4 * PAGE, 4 * PAGE),
    "its middle": (5 * PAGE, PAGE),
    "its start": (4 * PAGE, PAGE),
    "over its end": (7 * PAGE, 2 * PAGE),
    "around it": (3 * PAGE, 6 * PAGE),
    "it and a part of the next": (4 * PAGE, 7 * PAGE),
    "all": (0, 16 * PAGE),
}
"""Where something new comes, seen from the mapping at pages 4 to 7."""

scenario = Scenarios()


def opened(rig: Rig, *, max_mappings: int | None = None) -> Subject:
    """A mapper with three mappings and gaps between them; their device is proven for both accesses."""
    subject = rig.open(4 << 20, max_mappings=max_mappings)
    file = rig.files[0] if rig.files else rig.file(16)
    subject.map(file, 0, 2 * PAGE, writable=True)
    subject.map(file, 4 * PAGE, 4 * PAGE, file_offset=3 * PAGE)
    subject.map(file, 10 * PAGE, 2 * PAGE, file_offset=PAGE, writable=True)
    return subject


def each_place(rig: Rig) -> Iterator[tuple[Subject, int, int]]:
    """A mapper for each place, with the place's offset and length."""
    for offset, length in PLACES.values():
        yield opened(rig), offset, length


def replace(subject: Subject, offset: int, length: int) -> None:
    """Ask for a replacement, in the mapper alone."""
    subject.mapper.setup_mapping(subject.rig.files[0].fd, 0, offset, length, writable=True, replace=True)


def wholly_in(subject: Subject, offset: int, length: int) -> int:
    """How many mappings lie wholly in a range."""
    return sum(offset <= m.window_offset and m.end <= offset + length for m in subject.model.values())


# Replacement.


@scenario
def replacement_that_fails_at_once_changes_nothing(rig: Rig) -> None:
    for subject, offset, length in each_place(rig):
        faults.plan(Call.PLACE, Fault(ENOMEM))
        with subject.refused(ENOMEM):
            replace(subject, offset, length)
        subject.map(rig.files[0], offset, length, writable=True, replace=True)
        subject.agree()


@scenario
def replacement_that_fails_after_the_old_is_gone_loses_just_the_range(rig: Rig) -> None:
    for subject, offset, length in each_place(rig):
        lost = wholly_in(subject, offset, length)
        faults.plan(Call.PLACE, Fault(ENODEV, Effect.EMPTY))
        with pytest.raises(OSError, match="lost") as caught:
            replace(subject, offset, length)
        assert caught.value.errno == EIO
        subject.model_cut(offset, length)
        subject.agree()
        stats = subject.mapper.stats()
        assert (stats.lost_count, stats.replaced_count, stats.errors) == (lost, 0, {EIO: 1})
        assert all(rig.load(subject.mapper, page) is None for page in range(offset, offset + length, PAGE))
        subject.map(rig.files[0], offset, length, writable=True)
        subject.agree()


@scenario
def intruder_in_a_replaced_range_closes_the_mapper(rig: Rig) -> None:
    for subject, offset, length in each_place(rig):
        lost = wholly_in(subject, offset, length)
        faults.plan(Call.PLACE, Fault(ENOMEM, Effect.INTRUDE))
        with pytest.raises(OSError, match="given up") as caught:
            replace(subject, offset, length)
        assert caught.value.errno == EIO
        subject.model_cut(offset, length)
        check_given_up(subject, address_of(subject.mapper) + offset, swept=len(subject.model), lost=lost)


@scenario
def replaced_range_that_cannot_be_refilled_closes_the_mapper(rig: Rig) -> None:
    for subject, offset, length in each_place(rig):
        lost = wholly_in(subject, offset, length)
        faults.plan(Call.PLACE, Fault(ENODEV, Effect.EMPTY))
        faults.plan(Call.REFILL, Fault(ENOMEM))
        with pytest.raises(OSError, match="given up") as caught:
            replace(subject, offset, length)
        assert caught.value.errno == EIO
        subject.model_cut(offset, length)
        check_given_up(subject, None, swept=len(subject.model), lost=lost)


# Removal of a range.


@scenario
def removal_that_fails_at_once_is_tried_mapping_by_mapping(rig: Rig) -> None:
    for subject, offset, length in each_place(rig):
        alone = any(m.window_offset <= offset and offset + length <= m.end for m in subject.model.values())
        faults.plan(Call.CLEAR, Fault(ENOMEM))
        if alone:
            with subject.refused(EIO) as caught:
                subject.mapper.remove_range(offset, length)
            assert "kept" in str(caught.value)
        subject.remove_range(offset, length)
        subject.agree()


@scenario
def removal_keeps_what_cannot_be_removed(rig: Rig) -> None:
    for subject, offset, length in each_place(rig):
        kept = address_of(subject.mapper) + max(offset, 4 * PAGE)
        faults.plan(Call.CLEAR, Fault(ENOMEM, times=2, address=kept))
        with pytest.raises(OSError, match="kept") as caught:
            subject.mapper.remove_range(offset, length)
        assert caught.value.errno == EIO
        live = subject.model.pop(4 * PAGE)
        subject.model_cut(offset, length)
        subject.model[live.window_offset] = live
        subject.agree()
        faults.plan(Call.CLEAR, None)
        subject.remove_range(offset, length)
        subject.agree()


@scenario
def removal_whose_hole_could_be_refilled_is_one(rig: Rig) -> None:
    for subject, offset, length in each_place(rig):
        removed = wholly_in(subject, offset, length)
        faults.plan(Call.CLEAR, Fault(ENOMEM, Effect.EMPTY))
        with recording(logging.WARNING) as recorder:
            subject.remove_range(offset, length)
        assert len(recorder.take(logging.WARNING)) == 1
        subject.agree()
        stats = subject.mapper.stats()
        assert (stats.remove_count, stats.errors) == (removed, {})


@scenario
def intruder_in_a_removed_range_closes_the_mapper(rig: Rig) -> None:
    for subject, offset, length in each_place(rig):
        lost = wholly_in(subject, offset, length)
        faults.plan(Call.CLEAR, Fault(ENOMEM, Effect.INTRUDE))
        with pytest.raises(OSError, match="given up") as caught:
            subject.mapper.remove_range(offset, length)
        assert caught.value.errno == EIO
        subject.model_cut(offset, length)
        check_given_up(subject, address_of(subject.mapper) + offset, swept=len(subject.model), lost=lost)


# The budget.


def free_units(subject: Subject) -> int:
    """How many mappings more the budget allows."""
    taken = []
    for offset in range(32 * PAGE, 64 * PAGE, PAGE):
        if errno_of(partial(replace, subject, offset, PAGE)) == ENOSPC:
            break
        taken.append((offset, PAGE))
    assert subject.mapper.remove_mappings(taken).errno == 0
    return len(taken)


@scenario
def cut_by_the_last_unit_of_the_budget_is_charged_only_if_it_is_made(rig: Rig) -> None:
    middle = (5 * PAGE, PAGE)
    for effect in (Effect.KEEP, Effect.EMPTY):
        subject = opened(rig, max_mappings=5)  # three, and two more by a replacement in the middle
        faults.plan(Call.PLACE, Fault(ENODEV, effect))
        with pytest.raises(OSError, match=r"\w") as caught:
            replace(subject, *middle)
        kept = effect == Effect.KEEP
        assert caught.value.errno == (ENODEV if kept else EIO)
        if not kept:
            subject.model_cut(*middle)
        subject.agree()
        assert free_units(subject) == (2 if kept else 1)
        subject.map(rig.files[0], *middle, writable=True, replace=True)
        assert free_units(subject) == 0
        with subject.refused(ENOSPC):
            replace(subject, 10 * PAGE, PAGE)
        subject.remove(*middle)
        assert free_units(subject) == 1


@scenario
def removal_by_the_last_unit_of_the_budget_is_charged_only_if_it_is_made(rig: Rig) -> None:
    middle = (5 * PAGE, PAGE)
    for effect in (Effect.KEEP, Effect.EMPTY):
        subject = opened(rig, max_mappings=4)
        if effect == Effect.KEEP:
            faults.plan(Call.CLEAR, Fault(ENOMEM))
            with subject.refused(EIO):
                subject.mapper.remove_range(*middle)
            assert free_units(subject) == 1
        faults.plan(Call.CLEAR, Fault(ENOMEM, effect, skip=int(effect == Effect.KEEP)))
        subject.remove_range(*middle)
        faults.plan(Call.CLEAR, None)
        subject.agree()
        assert free_units(subject) == 0
        subject.map(rig.files[0], 6 * PAGE, 2 * PAGE, writable=True, replace=True)
        subject.map(rig.files[0], 4 * PAGE, 4 * PAGE, writable=True, replace=True)  # one of two
        assert free_units(subject) == 1


@pytest.mark.parametrize("body", scenario, ids=name_of)
def test_fault(window_backend: str, fault_library: Path, tmp_path: Path, body: Body) -> None:
    run_in_child(body, window_backend, tmp_path, preload=fault_library)
