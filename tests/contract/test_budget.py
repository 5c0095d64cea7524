"""How much of the process's memory areas guests may use up, and that mappers work at that scale.

Each test has a process of its own: the budget is the whole process's.
"""

import mmap
import os
import threading
from contextlib import suppress
from errno import ENOSPC
from pathlib import Path
from random import Random

import pytest

from daxmap import DaxMapper, HostWindowBackend
from support.children import Body, Scenarios, name_of, run_in_child
from support.files import HostFile
from support.host import PAGE, vmas
from support.rig import Rig, Subject
from support.rigs import address_of

MAX_MAP_COUNT = int(Path("/proc/sys/vm/max_map_count").read_text())
"""How many memory areas (VMAs) the kernel lets a process have: Documentation/admin-guide/sysctl/vm.rst."""
SLOT = 2 << 20
TIB = 1 << 40
MANY = 30_000
WORST_CASE_SIZE = -(-MAX_MAP_COUNT * PAGE // SLOT) * SLOT
"""A window in which the process's whole budget fits."""
SLOTS = WORST_CASE_SIZE // SLOT
"""What such a window may itself cost, at most."""
BUDGET = MAX_MAP_COUNT // 2
MAPPINGS = BUDGET // 2
"""Each mapping splits a hole off."""


scenario = Scenarios()


def count_vmas(subject: Subject | None = None) -> int:
    """How many areas the process has, or its window."""
    if subject is None:
        return sum(1 for _ in vmas())
    low = address_of(subject.mapper)
    return sum(low <= vma.start < low + subject.mapper.size for vma in vmas())


def map_every_other_page(subject: Subject, file: HostFile, *, first: int = 0) -> int:
    """Map until the mapper refuses, at the worst there is: each mapping splits a hole. Returns how many are live."""
    for count in range(first, subject.mapper.size // (2 * PAGE)):
        try:
            subject.map(file, 2 * count * PAGE)
        except OSError as error:
            if error.errno != ENOSPC:
                raise
            return count
    raise AssertionError("the window was filled")


def check_that_the_vmm_goes_on() -> None:
    """Check that memory can be allocated and mapped, and threads started."""
    memory = [bytearray(1 << 20) for _ in range(100)]
    areas = [mmap.mmap(-1, PAGE) for _ in range(100)]
    ran: list[int] = []
    threads = [threading.Thread(target=ran.append, args=[number]) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for area in areas:
        area.close()
    assert len(memory) == 100
    assert len(ran) == 50


@scenario
def mapping_until_refused(rig: Rig) -> None:
    file = rig.file(1)
    subject = rig.open(WORST_CASE_SIZE)
    mapped = map_every_other_page(subject, file)
    assert MAPPINGS - SLOTS <= mapped <= MAPPINGS
    assert 2 * mapped <= count_vmas(subject) <= BUDGET
    check_that_the_vmm_goes_on()
    subject.agree()
    assert subject.mapper.stats().errors == {ENOSPC: 1}

    subject.remove(0)
    subject.map(file, PAGE)
    with subject.refused(ENOSPC):
        subject.mapper.setup_mapping(file.fd, 0, subject.mapper.size - PAGE, PAGE, writable=False)
    subject.map(file, PAGE, writable=True)
    subject.mapper.reset()
    subject.model.clear()
    assert count_vmas(subject) <= 1 + SLOTS
    assert map_every_other_page(subject, file) == mapped


@scenario
def giving_the_budget_back(rig: Rig) -> None:
    """Whichever way a mapping goes, or fails to come."""
    file = rig.file(1)
    subject = rig.open(WORST_CASE_SIZE)
    mapped = map_every_other_page(subject, file)
    offsets = list(subject.model)
    for offset in offsets[:1000]:
        subject.remove(offset)
    subject.mapper.remove_mappings([(offset, PAGE) for offset in offsets[1000:2000]])
    with file.opened(os.O_RDONLY) as read_only:
        for offset in offsets[:1000]:
            with pytest.raises(PermissionError):
                subject.mapper.setup_mapping(read_only.fd, 0, offset, PAGE, writable=True)
    for offset in offsets[2000:3000]:
        subject.map(file, offset, writable=True)
    subject.mapper.reset()
    subject.model.clear()
    assert map_every_other_page(subject, file) == mapped
    subject.mapper.drain_all()
    subject.model.clear()
    again = rig.open(WORST_CASE_SIZE)
    assert map_every_other_page(again, file) == mapped


@scenario
def sharing_the_budget(rig: Rig) -> None:
    file = rig.file(1)
    first, second = rig.open(WORST_CASE_SIZE), rig.open(WORST_CASE_SIZE)
    entries = [(2 * page * PAGE, PAGE) for page in range(1000)]
    for offset, _ in entries:
        first.map(file, offset)
    taken = map_every_other_page(second, file)
    assert MAPPINGS - 1000 - 2 * SLOTS <= taken <= MAPPINGS - 1000
    with first.refused(ENOSPC):
        first.mapper.setup_mapping(file.fd, 0, first.mapper.size - PAGE, PAGE, writable=False)

    assert first.mapper.remove_mappings(entries[:500]).removed == 500
    third = rig.open(WORST_CASE_SIZE)
    more = map_every_other_page(third, file)
    assert 500 - SLOTS <= more <= 500
    second.mapper.drain_all()
    second.model.clear()
    assert taken <= map_every_other_page(third, file, first=more) - more <= taken + SLOTS


@scenario
def having_an_own_limit(rig: Rig) -> None:
    file = rig.file(1)
    limited = rig.open(max_mappings=3)
    assert map_every_other_page(limited, file) == 3
    with limited.refused(ENOSPC) as caught:
        limited.mapper.setup_mapping(file.fd, 0, PAGE, PAGE, writable=False)
    assert "3" in str(caught.value)
    limited.map(file, 0, writable=True)
    limited.remove(2 * PAGE)
    limited.map(file, PAGE)
    limited.agree()

    map_every_other_page(rig.open(WORST_CASE_SIZE), file)
    limited.remove(0)
    limited.map(file, 3 * PAGE)
    limited.agree()


@scenario
def mapping_30_000(rig: Rig) -> None:
    subject = rig.open(2 * MANY * PAGE, max_mappings=MANY)
    file = rig.file(64)
    for page in range(MANY):
        subject.map(file, 2 * page * PAGE, file_offset=page % 64 * PAGE, writable=page % 3 == 0)
    subject.agree()
    for page in range(0, MANY, 7):
        if page % 3:
            subject.map(file, 2 * page * PAGE, file_offset=page % 64 * PAGE, writable=True)
    for page in range(0, MANY, 5):
        subject.remove(2 * page * PAGE)
    result = subject.mapper.remove_mappings([(2 * page * PAGE, PAGE) for page in range(0, MANY, 3)])
    for page in range(0, MANY, 3):
        subject.model.pop(2 * page * PAGE, None)
    assert result.removed == MANY // 3 - MANY // 15
    subject.agree()
    assert subject.mapper.stats().peak_mappings == MANY
    subject.mapper.reset()
    subject.model.clear()
    subject.agree()


@pytest.mark.parametrize("body", scenario, ids=name_of)
def test_budget(window_backend: str, tmp_path: Path, body: Body) -> None:
    if body is mapping_30_000 and MAX_MAP_COUNT < 2 * MANY + 1000:
        pytest.skip(f"vm.max_map_count is {MAX_MAP_COUNT}: too few for {MANY} mappings")
    run_in_child(body, window_backend, tmp_path)


@pytest.mark.parametrize("seed", range(3))
def test_window_takes_no_more_areas_than_it_is_charged_for(window_rig: Rig, seed: int) -> None:
    """One for each slot and two for each mapping, whatever was mapped and removed before."""
    random = Random(seed)  # noqa: S311
    slots = 8
    subject = window_rig.open(slots * SLOT)
    file = window_rig.file(1)
    pages = subject.mapper.size // PAGE
    for _ in range(300):
        start = random.randrange(pages)
        length = min(random.choice((1, 2, 100, SLOT // PAGE, 3 * SLOT // PAGE)), pages - start)
        with suppress(FileExistsError):
            subject.map(file, start * PAGE, length * PAGE)
        live = list(subject.model.values())
        if random.random() < 0.3:
            gone = random.choice(live)
            subject.remove(gone.window_offset, gone.length)
        elif random.random() < 0.1:
            for gone in random.sample(live, len(live) // 2):
                subject.mapper.remove_mappings([(gone.window_offset, gone.length)])
                del subject.model[gone.window_offset]
        elif random.random() < 0.05:
            subject.mapper.reset()
            subject.model.clear()
        assert count_vmas(subject) <= slots + 2 * len(subject.model)
    subject.agree()


def cycling_through_a_tib(rig: Rig) -> None:
    backend = HostWindowBackend()
    file = rig.file(1)
    before = count_vmas()
    with DaxMapper(TIB, TIB, backend) as mapper:
        for offset in range(0, TIB, SLOT):
            mapper.setup_mapping(file.fd, 0, offset, SLOT, writable=False)
            mapper.remove_mapping(offset, SLOT)
        assert count_vmas() - before <= BUDGET
        check_that_the_vmm_goes_on()
        assert mapper.stats().remove_count == TIB // SLOT
    backend.release()
    assert count_vmas() <= before + 30


def test_one_mapping_in_every_slot_of_a_tib_in_turn(tmp_path: Path) -> None:
    run_in_child(cycling_through_a_tib, "host-window", tmp_path)
