"""System calls that fail around the window itself, a page size of another kind, and each call in turn.

Each scenario runs in a process of its own, in which tests/support/faults.c stands between the mapper and the kernel.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from errno import EBUSY, EINVAL, EIO, ENOMEM, ENOSPC
from functools import partial
from pathlib import Path

import pytest

from daxmap import DaxMapper, HostWindowBackend, KvmBackend
from support import faults
from support.children import Body, Scenarios, name_of, run_in_child
from support.damage import FREE, check_given_up, holes_in, opened, setup
from support.faults import Call, Effect, Fault
from support.host import PAGE
from support.limits import errno_of
from support.records import LOGGER, Prober, Recorder, recording
from support.rig import Rig, Subject
from support.rigs import KvmRig, address_of

of_any, of_kvm, of_a_host_window = Scenarios(), Scenarios(), Scenarios()


@of_a_host_window
def window_that_a_device_keeps_and_the_host_does_not_free_is_told(rig: Rig) -> None:
    subject = opened(rig, live=1)
    address = address_of(subject.mapper)
    with subject.mapper.resolve(subject.mapper.base, PAGE, writable=False):
        subject.mapper.close()
        subject.release()
        faults.plan(Call.FREE, Fault(ENOMEM))
        recorder = Recorder()
        LOGGER.addHandler(recorder)
    LOGGER.removeHandler(recorder)
    assert [f"host window at {address:#x} stays reserved" in told for told in recorder.take(logging.WARNING)] == [True]
    subject.abandon()


@of_a_host_window
def release_of_a_given_up_window_never_succeeds(rig: Rig) -> None:
    subject = opened(rig)
    faults.plan(Call.PLACE, Fault(ENOMEM, Effect.INTRUDE))
    with pytest.raises(OSError, match="given up"):
        setup(subject)
    for _ in range(2):
        with pytest.raises(OSError, match="reserved") as caught:
            subject.release()
        assert caught.value.errno == EIO
    subject.abandon()


@of_a_host_window
def release_that_fails_can_be_tried_again(rig: Rig) -> None:
    backend = HostWindowBackend()
    with DaxMapper(1 << 40, 4 << 20, backend) as mapper:
        start = address_of(mapper)
    faults.plan(Call.FREE, Fault(ENOMEM, address=start))
    with pytest.raises(OSError, match="reserved") as caught:
        backend.release()
    assert caught.value.errno == ENOMEM
    assert holes_in(start, 4 << 20) == 4 << 20
    backend.release()
    assert holes_in(start, 4 << 20) == 0
    assert rig.mapped() == []


def fill(subject: Subject) -> int:
    """Map every other page until the process's budget is used up. Returns how many mappings are live."""
    for offset in range(len(subject.mapper) * 2 * PAGE, subject.mapper.size, 2 * PAGE):
        if errno_of(partial(setup, subject, offset)) == ENOSPC:
            return len(subject.mapper)
    raise AssertionError("the window was filled")


@of_any
def window_that_leaked_gives_its_budget_back_when_it_is_freed(rig: Rig) -> None:
    """A KVM window is freed with its slot, so by the drain; a host window when the VMM releases it."""
    leaky, subject = opened(rig, live=100), rig.open(1 << 30)
    at_first = fill(subject)
    subject.mapper.reset()
    leaky.abandon()
    faults.plan(Call.CLEAR, Fault(ENOMEM, times=1 << 20))
    leaky.mapper.drain_all()
    faults.plan(Call.CLEAR, None)
    if isinstance(rig, KvmRig):
        assert leaky.mapper.stats().leaked_count == 0
    else:
        assert leaky.mapper.stats().leaked_count == 100
        assert fill(subject) == at_first, "given back before the host has taken the areas back"
    leaky.release()
    assert fill(subject) >= at_first + 100


@of_any
def window_without_addresses_is_refused_and_the_backend_stays_usable(rig: Rig) -> None:
    backend = KvmBackend(rig.vm.fd, 99) if isinstance(rig, KvmRig) else HostWindowBackend()
    faults.plan(Call.RESERVE, Fault(ENOMEM))
    with pytest.raises(OSError, match="reserv") as caught:
        DaxMapper(1 << 40, 4 << 20, backend)
    assert caught.value.errno == ENOMEM
    with DaxMapper(1 << 40, 4 << 20, backend) as mapper:
        assert holes_in(address_of(mapper), mapper.size) == mapper.size
    if isinstance(backend, HostWindowBackend):
        backend.release()


@of_any
def window_that_cannot_be_laid_out_is_refused(rig: Rig) -> None:
    backend = KvmBackend(rig.vm.fd, 99) if isinstance(rig, KvmRig) else HostWindowBackend()
    size = 8 << 20
    for effect in Effect:
        faults.plan(Call.CLEAR, Fault(ENOMEM, effect))
        made = faults.count(Call.CLEAR)
        try:
            mapper = DaxMapper(1 << 40, size, backend)
        except OSError as error:
            if error.errno != ENOMEM:
                raise
            start = faults.last(Call.RESERVE).address
            assert effect == Effect.INTRUDE or holes_in(start, size) == 0
            assert effect != Effect.INTRUDE or faults.is_untouched_intruder(faults.intruder())
        else:
            assert faults.count(Call.CLEAR) == made, "the layout takes no such call"
            mapper.drain_all()
            faults.plan(Call.CLEAR, None)
            break
    with suppress(ValueError), DaxMapper(1 << 40, size, backend) as mapper:
        assert holes_in(address_of(mapper), size) == size
    if isinstance(backend, HostWindowBackend):
        backend.release()


@of_kvm
def slot_that_cannot_be_deleted_keeps_the_addresses(rig: Rig) -> None:
    subject = opened(rig)
    start, size = address_of(subject.mapper), subject.mapper.size
    subject.abandon()
    faults.plan(Call.DELETE_SLOT, Fault(EBUSY))
    with recording(logging.WARNING) as recorder:
        subject.mapper.drain_all()
    assert hex(start) in "".join(recorder.take(logging.WARNING))
    assert subject.mapper.closed
    assert holes_in(start, size) == size
    assert rig.mapped() == []
    assert rig.load(subject.mapper, 0) is None
    subject.mapper.drain_all()
    assert faults.count(Call.DELETE_SLOT) == 1, "the VM may be gone"


@of_kvm
def failed_deletion_of_a_slot_is_logged_without_the_lock(rig: Rig) -> None:
    subject = opened(rig)
    subject.abandon()
    prober = Prober()
    prober.mapper = subject.mapper
    faults.plan(Call.DELETE_SLOT, Fault(EBUSY))
    with recording(logging.WARNING, prober):
        prober.check(subject.mapper.drain_all)


# The page size.


@of_any
def unknown_page_size_is_taken_as_4_kib(rig: Rig) -> None:
    faults.pretend_page_size(-1)
    subject = rig.open(4 << 20)
    assert subject.mapper.page_size == 4096
    file = rig.file()
    subject.map(file, 0)
    with subject.refused(EINVAL):
        subject.mapper.setup_mapping(file.fd, 512, FREE, PAGE, writable=False)
    faults.pretend_page_size(0)
    subject.agree()


@of_any
def alignment_follows_the_host(rig: Rig) -> None:
    faults.pretend_page_size(16384)
    subject = rig.open(4 << 20)
    file = rig.file(8)
    assert subject.mapper.page_size == 16384
    for arguments in ((4096, 0, 16384), (0, 4096, 16384), (0, 0, 4096), (0, 0, 20480)):
        with subject.refused(EINVAL) as caught:
            subject.mapper.setup_mapping(file.fd, *arguments, writable=False)
        assert "0x4000" in str(caught.value)
    for base, size in ((4096, 4 << 20), (0, (4 << 20) + 4096)):
        with pytest.raises(ValueError, match="0x4000"):
            DaxMapper(base, size, HostWindowBackend())
    subject.map(file, 16384, 16384, file_offset=16384)
    faults.pretend_page_size(0)
    subject.agree()


# Every call in turn.


def life_of_a_mapper(subject: Subject) -> list[Callable[[], object]]:
    """A bit of everything, over several slots of the window."""
    mapper, fd = subject.mapper, subject.rig.files[0].fd
    slot = 2 << 20
    return [
        lambda: mapper.setup_mapping(fd, 0, 0, PAGE, writable=False),
        lambda: mapper.setup_mapping(fd, 0, PAGE, 2 * PAGE, writable=True),
        lambda: mapper.setup_mapping(fd, 0, slot - PAGE, slot, writable=False),
        lambda: mapper.setup_mapping(fd, 0, 0, PAGE, writable=True),
        lambda: mapper.setup_mapping(fd, 0, slot - PAGE, slot, writable=True),
        lambda: mapper.remove_mapping(slot - PAGE, slot),
        lambda: mapper.setup_mapping(fd, 0, 3 * slot, PAGE, writable=False),
        lambda: mapper.remove_mappings([(3 * slot, PAGE), (0, PAGE), (PAGE, 2 * PAGE)]),
        lambda: mapper.setup_mapping(fd, PAGE, slot, slot, writable=False),
        lambda: mapper.setup_mapping(fd, PAGE, 3 * slot, PAGE, writable=True),
        lambda: mapper.setup_mapping(fd, PAGE, slot + PAGE, PAGE, writable=False, replace=True),
        lambda: mapper.remove_range(0, 2 * slot - PAGE),
        lambda: mapper.setup_mapping(fd, 0, slot, 2 * slot + PAGE, writable=True, replace=True),
        lambda: mapper.remove_range(2 * slot - PAGE, slot),
        lambda: mapper.refresh(fd),
        mapper.reset,
        lambda: mapper.setup_mapping(fd, 0, 0, PAGE, writable=False),
    ]


def live_with_a_fault(rig: Rig, call: Call, fault: Fault) -> bool:
    """Check a mapper against its own book after each step, while one call fails. False if none came to fail."""
    subject = rig.open(8 << 20)
    faults.plan(call, fault)
    before = faults.count(call)
    for step in life_of_a_mapper(subject):
        with suppress(OSError):
            step()
        if subject.mapper.closed:
            break
        subject.adopt_book()
        subject.agree()
    came = faults.count(call) - before > fault.skip
    faults.plan(call, None)
    if came and fault.effect == Effect.INTRUDE:
        check_given_up(subject, faults.intruder())
    subject.finish()
    rig.subjects.remove(subject)
    return came


def check_each(rig: Rig, call: Call, effect: Effect) -> None:
    """Check a mapper as often as it makes such a call, with another of them failing each time."""
    rig.file(8)
    skip = 0
    while live_with_a_fault(rig, call, Fault(ENOMEM, effect, skip)):
        skip += 1
    assert skip > 1, "nothing failed"


@of_any
def book_is_true_after_any_trial_failed(rig: Rig) -> None:
    check_each(rig, Call.PROBE, Effect.KEEP)


@of_any
def book_is_true_after_any_placing_failed(rig: Rig) -> None:
    for effect in Effect:
        check_each(rig, Call.PLACE, effect)


@of_any
def book_is_true_after_any_clearing_failed(rig: Rig) -> None:
    for effect in Effect:
        check_each(rig, Call.CLEAR, effect)


@pytest.mark.parametrize("body", of_any, ids=name_of)
def test_fault(window_backend: str, fault_library: Path, tmp_path: Path, body: Body) -> None:
    run_in_child(body, window_backend, tmp_path, preload=fault_library)


@pytest.mark.parametrize("body", of_a_host_window, ids=name_of)
def test_fault_of_a_host_window(fault_library: Path, tmp_path: Path, body: Body) -> None:
    run_in_child(body, "host-window", tmp_path, preload=fault_library)


@pytest.mark.usefixtures("needs_kvm")
@pytest.mark.parametrize("body", of_kvm, ids=name_of)
def test_fault_of_kvm(fault_library: Path, tmp_path: Path, body: Body) -> None:
    run_in_child(body, "kvm", tmp_path, preload=fault_library)
