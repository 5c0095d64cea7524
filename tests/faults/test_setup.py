"""System calls that fail while a mapping is set up or upgraded, before or after they took away what was there.

Each scenario runs in a process of its own, in which tests/support/faults.c stands between the mapper and the kernel.
"""

from collections.abc import Callable
from errno import EACCES, EIO, ENODEV, ENOMEM
from functools import partial
from pathlib import Path

import pytest

from support import faults
from support.children import Body, Scenarios, name_of, run_in_child
from support.damage import FREE, check_given_up, check_intruder_closes, opened, setup
from support.faults import Call, Effect, Fault
from support.host import PAGE
from support.rig import Rig
from support.rigs import address_of

MAP_FIXED = 0x10
"""Of <asm-generic/mman-common.h>; Python's mmap module leaves it out."""

scenario = Scenarios()


@scenario
def each_change_of_one_slot_is_one_system_call(rig: Rig) -> None:
    subject = opened(rig, live=1)
    subject.remove(0)
    file = rig.file()
    calls = (Call.PLACE, Call.CLEAR, Call.REFILL, Call.PROBE)

    def check(call: Call, change: Callable[[], object]) -> None:
        before = {each: faults.count(each) for each in calls}
        change()
        assert {each: faults.count(each) - before[each] for each in calls} == {each: each == call for each in calls}

    for page in range(5):
        check(Call.PLACE, partial(subject.map, file, page * PAGE))
    check(Call.PLACE, lambda: subject.map(file, 0, writable=True))
    check(Call.CLEAR, lambda: subject.remove(PAGE))
    check(Call.CLEAR, lambda: subject.mapper.remove_mappings([(3 * PAGE, PAGE), (0, PAGE), (2 * PAGE, PAGE)]))
    subject.model = {4 * PAGE: subject.model[4 * PAGE]}
    subject.agree()


@scenario
def setup_that_fails_at_once_changes_nothing(rig: Rig) -> None:
    subject = opened(rig)
    faults.plan(Call.PLACE, Fault(ENOMEM))
    with subject.refused(ENOMEM):
        setup(subject)
    subject.map(rig.files[0], FREE)
    subject.agree()


@scenario
def setup_that_fails_after_the_hole_is_gone_refills_it(rig: Rig) -> None:
    subject = opened(rig)
    for error in (ENODEV, ENOMEM, EACCES):
        faults.plan(Call.PLACE, Fault(error, Effect.EMPTY))
        with subject.refused(error):
            setup(subject)
    subject.map(rig.files[0], FREE)
    subject.agree()


@scenario
def failed_setup_uses_up_no_budget(rig: Rig) -> None:
    subject = rig.open(max_mappings=1)
    rig.file()
    for effect in (Effect.KEEP, Effect.EMPTY):
        faults.plan(Call.PLACE, Fault(ENOMEM, effect))
        with subject.refused(ENOMEM):
            setup(subject)
    subject.map(rig.files[0], FREE)


@scenario
def first_mapping_of_a_device_is_tried_elsewhere_first(rig: Rig) -> None:
    subject = rig.open()
    file = rig.file()
    for writable in (False, True):
        faults.plan(Call.PROBE, Fault(EACCES))
        placed = faults.count(Call.PLACE)
        with subject.refused(EACCES):
            setup(subject, writable=writable)
        assert faults.count(Call.PLACE) == placed, "the window was touched"
        subject.map(file, FREE, 2 * PAGE, writable=writable)
        probe, place = faults.last(Call.PROBE), faults.last(Call.PLACE)
        assert (probe.length, probe.protection) == (place.length, place.protection) == (2 * PAGE, place.protection)
        assert probe.flags == place.flags & ~MAP_FIXED
        probes = faults.count(Call.PROBE)
        subject.map(rig.file(), 0, writable=writable)
        assert faults.count(Call.PROBE) == probes, "the device is known by now"
        subject.mapper.reset()
        subject.model.clear()
    subject.agree()


@scenario
def device_that_failed_once_is_tried_elsewhere_from_then_on(rig: Rig) -> None:
    """Or a guest could repeat it until another thread's memory lands in the gap."""
    subject = opened(rig)
    faults.plan(Call.PLACE, Fault(ENODEV, Effect.EMPTY))
    with subject.refused(ENODEV):
        setup(subject)
    faults.plan(Call.PROBE, Fault(ENODEV, times=3))
    placed = faults.count(Call.PLACE)
    for _ in range(3):
        with subject.refused(ENODEV):
            setup(subject)
    assert faults.count(Call.PLACE) == placed, "the window was touched"
    subject.map(rig.files[0], FREE)
    subject.map(rig.files[0], FREE, writable=True)
    assert faults.count(Call.PLACE) == placed + 2


@scenario
def intruder_in_a_new_range_closes_the_mapper(rig: Rig) -> None:
    subject = opened(rig)
    check_intruder_closes(subject)


@scenario
def hole_that_cannot_be_refilled_closes_the_mapper(rig: Rig) -> None:
    subject = opened(rig)
    faults.plan(Call.PLACE, Fault(ENODEV, Effect.EMPTY))
    faults.plan(Call.REFILL, Fault(ENOMEM))
    with pytest.raises(OSError, match="given up") as caught:
        setup(subject)
    assert caught.value.errno == EIO
    check_given_up(subject, None, swept=3, lost=0)


# Upgrade.


@scenario
def upgrade_that_fails_at_once_leaves_the_old_access(rig: Rig) -> None:
    subject = opened(rig)
    faults.plan(Call.PLACE, Fault(ENOMEM))
    with subject.refused(ENOMEM):
        setup(subject, 0, writable=True)
    assert not rig.store(subject.mapper, 0, 1)
    subject.map(rig.files[0], 0, writable=True)
    subject.agree()


@scenario
def upgrade_that_fails_after_the_old_mapping_is_gone_loses_it(rig: Rig) -> None:
    subject = opened(rig)
    faults.plan(Call.PLACE, Fault(ENODEV, Effect.EMPTY))
    with pytest.raises(OSError, match="lost") as caught:
        setup(subject, 0, writable=True)
    assert caught.value.errno == EIO
    del subject.model[0]
    subject.agree()
    stats = subject.mapper.stats()
    assert (stats.lost_count, stats.upgrade_count, stats.errors) == (1, 0, {EIO: 1})
    assert rig.load(subject.mapper, 0) is None
    subject.map(rig.files[0], 0, writable=True)
    subject.agree()


@scenario
def lost_mapping_gives_its_budget_back(rig: Rig) -> None:
    subject = rig.open(max_mappings=1)
    file = rig.file()
    subject.map(file, 0)
    faults.plan(Call.PLACE, Fault(ENODEV, Effect.EMPTY))
    with pytest.raises(OSError, match="lost"):
        setup(subject, 0, writable=True)
    del subject.model[0]
    subject.map(file, FREE)
    subject.agree()


@scenario
def intruder_in_an_upgraded_range_closes_the_mapper(rig: Rig) -> None:
    subject = opened(rig)
    address = address_of(subject.mapper) + PAGE
    faults.plan(Call.PLACE, Fault(ENOMEM, Effect.INTRUDE))
    with pytest.raises(OSError, match="given up") as caught:
        subject.mapper.setup_mapping(rig.files[0].fd, PAGE, PAGE, PAGE, writable=True)
    assert caught.value.errno == EIO
    check_given_up(subject, address, swept=2, lost=1)


@pytest.mark.parametrize("body", scenario, ids=name_of)
def test_fault(window_backend: str, fault_library: Path, tmp_path: Path, body: Body) -> None:
    run_in_child(body, window_backend, tmp_path, preload=fault_library)
