"""System calls that fail while mappings are taken away, one by one, in batches, by reset and by drain.

Each scenario runs in a process of its own, in which tests/support/faults.c stands between the mapper and the kernel.
"""

import logging
from contextlib import suppress
from errno import EIO, ENOMEM
from pathlib import Path

import pytest

from support import faults
from support.children import Body, Scenarios, name_of, run_in_child
from support.damage import FREE, check_given_up, opened, setup
from support.faults import Call, Effect, Fault
from support.host import PAGE, shown_in
from support.records import Prober, recording
from support.rig import Rig, Subject
from support.rigs import KvmRig, address_of, expected_in

scenario = Scenarios()

SLOT = 2 << 20
"""Bytes of the window whose holes are of one kind."""


@scenario
def removal_that_fails_at_once_keeps_the_mapping(rig: Rig) -> None:
    subject = opened(rig)
    faults.plan(Call.CLEAR, Fault(ENOMEM))
    with subject.refused(EIO) as caught:
        subject.mapper.remove_mapping(PAGE, PAGE)
    assert "kept" in str(caught.value)
    subject.remove(PAGE)
    subject.agree()


@scenario
def removal_whose_hole_could_be_refilled_is_one(rig: Rig) -> None:
    subject = opened(rig)
    faults.plan(Call.CLEAR, Fault(ENOMEM, Effect.EMPTY))
    with recording(logging.WARNING) as recorder:
        subject.remove(PAGE)
    assert len(recorder.take(logging.WARNING)) == 1
    subject.agree()
    assert subject.mapper.stats().errors == {}


@scenario
def intruder_in_a_removed_range_closes_the_mapper(rig: Rig) -> None:
    subject = opened(rig)
    address = address_of(subject.mapper) + PAGE
    faults.plan(Call.CLEAR, Fault(ENOMEM, Effect.INTRUDE))
    with pytest.raises(OSError, match="given up") as caught:
        subject.mapper.remove_mapping(PAGE, PAGE)
    assert caught.value.errno == EIO
    check_given_up(subject, address, swept=2, lost=1)


@scenario
def batch_that_fails_as_one_is_removed_one_by_one(rig: Rig) -> None:
    subject = opened(rig, live=6)
    kept = address_of(subject.mapper) + 2 * PAGE
    faults.plan(Call.CLEAR, Fault(ENOMEM, times=2, address=kept))
    result = subject.mapper.remove_mappings([(page * PAGE, PAGE) for page in range(6)])
    assert (result.removed, result.failed) == (5, [(2 * PAGE, PAGE, EIO)])
    subject.model = {2 * PAGE: subject.model[2 * PAGE]}
    subject.agree()
    subject.remove(2 * PAGE)
    subject.agree()


@scenario
def batch_whose_holes_could_be_refilled_is_removed(rig: Rig) -> None:
    subject = opened(rig, live=6)
    faults.plan(Call.CLEAR, Fault(ENOMEM, Effect.EMPTY))
    result = subject.mapper.remove_mappings([(page * PAGE, PAGE) for page in range(5)])
    assert (result.removed, result.failed) == (5, [])
    subject.model = {5 * PAGE: subject.model[5 * PAGE]}
    subject.agree()


def opened_at_a_slot(rig: Rig) -> Subject:
    """A mapper with one mapping, after whose removal the holes of the slots beside it change as well."""
    subject = rig.open(8 * SLOT)
    subject.map(rig.file(1), 4 * SLOT, SLOT)
    return subject


@scenario
def hole_beside_a_removed_range_may_stay_as_it_is(rig: Rig) -> None:
    subject = opened_at_a_slot(rig)
    faults.plan(Call.CLEAR, Fault(ENOMEM, skip=1))
    before = faults.count(Call.CLEAR)
    subject.remove(4 * SLOT, SLOT)
    assert faults.count(Call.CLEAR) - before == 3
    subject.agree()
    assert subject.mapper.stats().errors == {}


@scenario
def intruder_beside_a_removed_range_closes_the_mapper(rig: Rig) -> None:
    subject = opened_at_a_slot(rig)
    faults.plan(Call.CLEAR, Fault(ENOMEM, Effect.INTRUDE, skip=1))
    with pytest.raises(OSError, match="given up") as caught:
        subject.mapper.remove_mapping(4 * SLOT, SLOT)
    assert caught.value.errno == EIO
    check_given_up(subject, faults.intruder(), swept=0)


@scenario
def intruder_in_a_batch_closes_the_mapper(rig: Rig) -> None:
    subject = opened(rig, live=6)
    address = address_of(subject.mapper) + 2 * PAGE
    faults.plan(Call.CLEAR, Fault(ENOMEM, Effect.INTRUDE, address=address))
    entries = [(page * PAGE, PAGE) for page in range(5)]
    result = subject.mapper.remove_mappings(entries)
    assert result.errno == EIO
    assert (2 * PAGE, PAGE, EIO) in result.failed
    assert result.removed + len(result.failed) == 5
    check_given_up(subject, address)


@scenario
def reset_keeps_what_cannot_be_removed(rig: Rig) -> None:
    subject = opened(rig, live=6)
    kept = address_of(subject.mapper) + 2 * PAGE
    faults.plan(Call.CLEAR, Fault(ENOMEM, times=2, address=kept))
    with recording(logging.WARNING) as recorder:
        subject.mapper.reset()
    assert "kept" in recorder.take(logging.WARNING)[-1]
    subject.model = {2 * PAGE: subject.model[2 * PAGE]}
    subject.agree()
    assert subject.mapper.stats().swept_count == 5
    subject.mapper.reset()
    subject.model.clear()
    subject.agree()


@scenario
def reset_whose_holes_could_be_refilled_is_one(rig: Rig) -> None:
    subject = opened(rig, live=6)
    faults.plan(Call.CLEAR, Fault(ENOMEM, Effect.EMPTY))
    subject.mapper.reset()
    subject.model.clear()
    subject.agree()
    subject.map(rig.files[0], 0)
    subject.agree()


@scenario
def intruder_in_a_reset_window_closes_the_mapper(rig: Rig) -> None:
    subject = opened(rig, live=6)
    address = address_of(subject.mapper) + 2 * PAGE
    faults.plan(Call.CLEAR, Fault(ENOMEM, Effect.INTRUDE, address=address))
    with suppress(OSError):
        subject.mapper.reset()
    check_given_up(subject, address)


@scenario
def intruder_outside_the_mappings_of_a_reset_window_closes_the_mapper(rig: Rig) -> None:
    subject = opened(rig)
    address = address_of(subject.mapper) + FREE
    faults.plan(Call.CLEAR, Fault(ENOMEM, Effect.INTRUDE, address=address))
    with suppress(OSError):
        subject.mapper.reset()
    check_given_up(subject, address)


@scenario
def mappings_between_two_intruders_are_swept(rig: Rig) -> None:
    subject = opened(rig, live=6)
    start = address_of(subject.mapper)
    faults.plan(Call.PLACE, Fault(ENOMEM, Effect.INTRUDE))
    faults.plan(Call.CLEAR, Fault(ENOMEM, Effect.INTRUDE, address=start))
    with pytest.raises(OSError, match="given up"):
        setup(subject)
    check_given_up(subject, start)


@scenario
def drain_leaks_what_cannot_be_removed_and_sweeps_the_rest(rig: Rig) -> None:
    subject = opened(rig, live=6)
    subject.abandon()
    start = address_of(subject.mapper)
    faults.plan(Call.CLEAR, Fault(ENOMEM, times=2, address=start + 2 * PAGE))
    with recording(logging.WARNING) as recorder:
        subject.mapper.drain_all()
    logged, stats = recorder.take(logging.WARNING), subject.mapper.stats()
    freed = isinstance(rig, KvmRig)  # with the slot, and the guest has surely lost it
    assert ("leaked" in logged[-1]) == (not freed), logged
    assert (stats.swept_count, stats.leaked_count, stats.live_mappings) == ((6, 0, 0) if freed else (5, 1, 0))
    assert rig.load(subject.mapper, 0) is None
    assert rig.load(subject.mapper, 3 * PAGE) is None
    subject.mapper.drain_all()
    assert subject.mapper.stats() == stats
    if freed:
        assert rig.mapped() == []
    else:  # a slot may still show it, until the VMM releases the window
        subject.model = {2 * PAGE: subject.model[2 * PAGE]}
        assert shown_in(start, start + subject.mapper.size) == expected_in(subject)
    subject.release()


@scenario
def intruder_in_a_drained_window_is_left_alone(rig: Rig) -> None:
    subject = opened(rig, live=6)
    address = address_of(subject.mapper) + 2 * PAGE
    faults.plan(Call.CLEAR, Fault(ENOMEM, Effect.INTRUDE, address=address))
    with suppress(OSError):
        subject.mapper.drain_all()
    check_given_up(subject, address)


@scenario
def what_went_wrong_is_logged_without_the_lock(rig: Rig) -> None:
    subject = opened(rig)
    subject.abandon()
    mapper, start = subject.mapper, address_of(subject.mapper)
    prober = Prober()
    prober.mapper = mapper
    with recording(logging.WARNING, prober):
        faults.plan(Call.CLEAR, Fault(ENOMEM, Effect.EMPTY))
        prober.check(lambda: mapper.remove_mapping(0, PAGE))
        faults.plan(Call.CLEAR, Fault(ENOMEM, times=4, address=start + PAGE))
        prober.check(mapper.reset, mapper.drain_all)
    assert mapper.stats().leaked_count == (0 if isinstance(rig, KvmRig) else 1)
    subject.release()


@pytest.mark.parametrize("body", scenario, ids=name_of)
def test_fault(window_backend: str, fault_library: Path, tmp_path: Path, body: Body) -> None:
    run_in_child(body, window_backend, tmp_path, preload=fault_library)
