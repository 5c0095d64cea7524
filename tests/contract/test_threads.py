"""One mapper, many threads."""

import itertools
import os
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from errno import EACCES, EEXIST, EFAULT, EINVAL, ENODEV, ENOENT, ENOTSUP
from functools import partial
from pathlib import Path
from random import Random

import pytest

from daxmap import DaxMapper
from support.files import HostFile
from support.host import PAGE
from support.racers import visiting, watching
from support.rig import Rig
from support.rigs import HostWindowRig, address_of

CompileC = Callable[[str], Path]
PAGES = 16
"""Pages of the window that threads contend for."""


def run_together(*bodies: Callable[[], object]) -> None:
    """Run each in a thread of its own; what one raises is raised here."""
    failures: list[BaseException] = []
    start = threading.Barrier(len(bodies))

    def guarded(body: Callable[[], object]) -> None:
        try:
            start.wait()
            body()
        except BaseException as failure:  # noqa: BLE001
            failures.append(failure)

    threads = [threading.Thread(target=guarded, args=[body]) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def setups_and_removals(mapper: DaxMapper, file: HostFile, seed: int, calls: int) -> Counter[int]:
    """Random calls; how often each errno came, 0 for success."""
    random = Random(seed)  # noqa: S311
    outcomes: Counter[int] = Counter()
    for _ in range(calls):
        offset, length = random.randrange(PAGES) * PAGE, random.choice((PAGE, PAGE, 2 * PAGE))
        try:
            if random.random() < 0.5:
                mapper.setup_mapping(file.fd, offset, offset, length, random.random() < 0.3)
            else:
                mapper.remove_mapping(offset, length)
        except OSError as error:
            outcomes[error.errno or -1] += 1
        else:
            outcomes[0] += 1
    return outcomes


def test_two_threads_map_and_remove_at_random(rig: Rig) -> None:
    subject = rig.open()
    file = rig.file(PAGES + 1)
    calls, outcomes = rig.many_calls, Counter[int]()

    def work(seed: int) -> None:
        outcomes.update(setups_and_removals(subject.mapper, file, seed, calls))

    run_together(lambda: work(1), lambda: work(2))
    assert outcomes.total() == 2 * calls
    assert set(outcomes) == {0, EEXIST, ENOENT, EINVAL}
    assert min(outcomes.values()) > calls / 50
    stats = subject.mapper.stats()
    assert stats.errors == {errno: count for errno, count in outcomes.items() if errno}
    assert stats.setup_count + stats.remove_count + stats.upgrade_count == outcomes[0]
    subject.adopt_book()
    subject.agree()


def test_all_operations_at_once(rig: Rig) -> None:
    subject = rig.open()
    mapper, file = subject.mapper, rig.file(PAGES + 1)
    whole = [(page * PAGE, PAGE) for page in range(PAGES)]
    unsupported = () if rig.can_copy else (ENOTSUP,)

    def repeat(call: Callable[[], object], times: int, *expected: int) -> Callable[[], None]:
        def body() -> None:
            for _ in range(times):
                try:
                    call()
                except OSError as error:
                    if error.errno not in expected:
                        raise

        return body

    def look() -> None:
        infos = list(mapper)
        ends = [info.window_offset + info.length for info in infos]
        assert all(end <= info.window_offset for end, info in zip(ends, infos[1:], strict=False))
        assert mapper.stats().live_mappings <= PAGES
        assert len(mapper) <= PAGES

    run_together(
        lambda: setups_and_removals(mapper, file, 3, 5000),
        repeat(mapper.reset, 500),
        repeat(lambda: mapper.remove_mappings(whole), 500),
        repeat(lambda: mapper.read(mapper.base, PAGES * PAGE), 2000, EFAULT, *unsupported),
        repeat(lambda: mapper.write(mapper.base + PAGE, b"x"), 2000, EFAULT, EACCES, *unsupported),
        repeat(lambda: mapper.lookup(PAGE), 2000),
        repeat(look, 1000),
    )
    subject.adopt_book()
    subject.agree()


def test_no_thread_disturbs_the_range_of_another(rig: Rig) -> None:
    subject = rig.open()
    mapper, file = subject.mapper, rig.file(PAGES)

    def replace_at_random(random: Random) -> None:
        """In the range of all, whatever lies there: what is cut, replaced and removed is counted by turns."""
        offset, length = random.randrange(PAGES - 3) * PAGE, random.randrange(1, 4) * PAGE
        if random.random() < 0.7:
            mapper.setup_mapping(file.fd, offset, offset, length, random.random() < 0.3, replace=True)
        else:
            mapper.remove_range(offset, length)

    def work(number: int) -> None:
        random = Random(number)  # noqa: S311
        own, content = (PAGES + number) * PAGE, file.shown(number * PAGE, PAGE)
        for _ in range(rig.many_calls // 100):
            replace_at_random(random)
            mapper.setup_mapping(file.fd, number * PAGE, own, PAGE, writable=False)
            found = mapper.lookup(own)
            assert found is not None
            assert (found.window_offset, found.length, found.file_offset) == (own, PAGE, number * PAGE)
            if rig.can_copy:
                assert mapper.read(mapper.base + own, PAGE) == content
            replace_at_random(random)
            offsets = [info.window_offset for info in mapper]
            assert offsets == sorted(set(offsets))
            assert own in offsets
            mapper.remove_mapping(own, PAGE)

    run_together(*(partial(work, number) for number in range(8)))
    stats = mapper.stats()
    assert min(stats.replaced_count, stats.split_count) > 0
    assert stats.errors == {}
    subject.adopt_book()
    subject.agree()


@pytest.mark.parametrize("_round", range(10))
def test_drain_while_others_map_leaves_nothing(rig: Rig, _round: int) -> None:
    subject = rig.open(512 * PAGE)
    mapper, file = subject.mapper, rig.file(1)
    under_way = threading.Barrier(3)

    def map_until_closed(first: int) -> None:
        for count in itertools.count():
            if count == 20:
                under_way.wait()
            try:
                mapper.setup_mapping(file.fd, 0, (2 * count + first) % 512 * PAGE, PAGE, writable=False)
            except FileExistsError:
                continue
            except OSError as error:
                if error.errno == ENODEV:
                    return
                raise

    def drain() -> None:
        under_way.wait()
        mapper.drain_all()
        assert mapper.closed

    run_together(lambda: map_until_closed(0), lambda: map_until_closed(1), drain)
    assert rig.mapped() == []
    stats = mapper.stats()
    assert stats.swept_count == stats.setup_count >= 40
    subject.agree()


def test_two_threads_drain_once(rig: Rig) -> None:
    subject = rig.open()
    for page in range(64):
        subject.map(rig.file(1), page * PAGE)
    subject.model.clear()
    run_together(subject.mapper.drain_all, subject.mapper.close, subject.mapper.drain_all)
    assert subject.mapper.stats().swept_count == 64
    subject.agree()


def test_memory_of_other_threads_never_lands_in_a_window(window_rig: HostWindowRig, compile_c: CompileC) -> None:
    subject = window_rig.open(16 << 20)
    mapper, file = subject.mapper, window_rig.file(64)
    low = address_of(mapper)
    with visiting(compile_c("threads"), low, low + mapper.size) as visitor:
        for round_ in range(300):
            with file.opened(os.O_RDONLY) as read_only:
                for page in range(0, 32, 2):
                    mapper.setup_mapping(read_only.fd, page * PAGE, page * PAGE, PAGE, writable=False)
            mapper.setup_mapping(file.fd, 0, 2 << 20, 2 << 20, writable=True)
            mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=True)
            with suppress(OSError), file.opened(os.O_RDONLY) as read_only:
                mapper.setup_mapping(read_only.fd, 2 * PAGE, 2 * PAGE, PAGE, writable=True)
            mapper.remove_mapping(2 << 20, 2 << 20)
            mapper.remove_mappings([(page * PAGE, PAGE) for page in range(0, 16, 2)])
            mapper.reset()
            assert visitor.rounds > 0, round_
        subject.agree()
        rounds = visitor.rounds
    mapper.drain_all()
    assert rounds > 100
    assert visitor.landed == 0


def test_upgrades_are_not_seen_by_who_reads_the_range(window_rig: HostWindowRig, compile_c: CompileC) -> None:
    pages, slots = 4, 500
    subject = window_rig.open(slots * pages * PAGE)
    file = window_rig.file(pages)
    start = address_of(subject.mapper)
    with watching(compile_c("threads"), pages * PAGE) as watcher:
        for slot in range(slots):
            offset = slot * pages * PAGE
            subject.map(file, offset, pages * PAGE)
            watcher.look_at(start + offset)
            subject.map(file, offset, pages * PAGE, writable=True)
        watcher.look_at(start)
        watcher.address = 0
    assert subject.mapper.stats().upgrade_count == slots
    assert (watcher.faults, watcher.zeros) == (0, 0)
    subject.agree()
