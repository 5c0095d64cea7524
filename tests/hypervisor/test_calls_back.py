"""Callbacks that call their own mapper, callbacks that take their time, and who else may use the mapper meanwhile."""

import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from errno import EDEADLK, EEXIST, ENOENT

import pytest

from daxmap import DaxMapper
from support.files import HostFile
from support.host import PAGE
from support.recording import BASE, AnyRecorder, Fault, check_books
from support.records import recording

PATIENCE = 30
"""Seconds after which something hangs for sure."""

OWN_CALLS: dict[str, Callable[[DaxMapper, int], object]] = {
    "setup_mapping": lambda mapper, fd: mapper.setup_mapping(fd, 0, 8 * PAGE, PAGE, writable=False),
    "remove_mapping": lambda mapper, _: mapper.remove_mapping(0, PAGE),
    "remove_mappings": lambda mapper, _: mapper.remove_mappings([(0, PAGE)]),
    "reset": lambda mapper, _: mapper.reset(),
    "drain_all": lambda mapper, _: mapper.drain_all(),
    "close": lambda mapper, _: mapper.close(),
    "leaving the context": lambda mapper, _: mapper.__exit__(None, None, None),
    "read": lambda mapper, _: mapper.read(BASE, 4),
    "write": lambda mapper, _: mapper.write(BASE, b"abcd"),
    "lookup": lambda mapper, _: mapper.lookup(0),
    "map_file": lambda mapper, fd: mapper.map_file(fd),
    "resolve": lambda mapper, _: mapper.resolve(BASE, 4, writable=False).__enter__(),
    "explain": lambda mapper, _: mapper.explain(BASE),
    "render": lambda mapper, _: mapper.render(),
    "iter": lambda mapper, _: list(mapper),
}


@pytest.mark.parametrize("name", OWN_CALLS)
def test_call_of_the_own_mapper_is_refused_and_the_outer_call_succeeds(
    recorder: AnyRecorder, mapper: DaxMapper, file: HostFile, name: str
) -> None:
    errnos: list[int | None] = []

    def call_back() -> None:
        with pytest.raises(OSError, match="callback") as caught:
            OWN_CALLS[name](mapper, file.fd)
        errnos.append(caught.value.errno)

    recorder.on_call = call_back
    mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False)
    mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=True)
    mapper.setup_mapping(file.fd, 0, PAGE, PAGE, writable=False)
    mapper.remove_mapping(0, PAGE)
    check_books(recorder, mapper)
    mapper.reset()
    mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False)
    mapper.drain_all()
    assert errnos == [EDEADLK] * len(recorder.calls)
    assert not recorder.book


def test_refused_call_of_the_own_mapper_is_not_logged_under_the_lock(
    recorder: AnyRecorder, mapper: DaxMapper, file: HostFile
) -> None:
    def call_back() -> None:
        for call in OWN_CALLS.values():
            with pytest.raises(OSError, match="callback"):
                call(mapper, file.fd)

    recorder.on_call = call_back
    with recording(logging.WARNING) as records:
        mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False)
    assert records.records == []
    assert mapper.stats().errors[EDEADLK] > 0
    recorder.on_call = lambda: None


FORKING_CALLS: dict[str, Callable[[DaxMapper, int], object]] = {
    "setup_mapping": lambda mapper, fd: mapper.setup_mapping(fd, 0, 8 * PAGE, PAGE, writable=False),
    "replacement": lambda mapper, fd: mapper.setup_mapping(fd, 0, 0, 2 * PAGE, writable=False, replace=True),
    "remove_mapping": lambda mapper, _: mapper.remove_mapping(0, PAGE),
    "remove_range": lambda mapper, _: mapper.remove_range(0, 4 * PAGE),
    "remove_mappings": lambda mapper, _: mapper.remove_mappings([(page * PAGE, PAGE) for page in range(4)]),
    "reset": lambda mapper, _: mapper.reset(),
    "drain_all": lambda mapper, _: mapper.drain_all(),
    "leaving the context": lambda mapper, _: mapper.__exit__(None, None, None),
}


@pytest.mark.parametrize("raised", [None, RuntimeError(), SystemExit(7)], ids=["returns", "raises", "exits"])
@pytest.mark.parametrize("name", FORKING_CALLS)
def test_child_that_a_callback_forks_calls_nothing_more(
    recorder: AnyRecorder, mapper: DaxMapper, file: HostFile, name: str, raised: BaseException | None
) -> None:
    for page in range(4):
        mapper.setup_mapping(file.fd, 0, page * PAGE, PAGE, writable=False)
    child = -1
    calls = 0

    def fork() -> None:
        nonlocal child, calls
        recorder.on_call = lambda: None
        calls = len(recorder.calls)
        child = os.fork()
        if child == 0 and raised is not None:
            raise raised

    recorder.on_call = fork
    outcome: BaseException | None = None
    try:
        FORKING_CALLS[name](mapper, file.fd)
    except BaseException as error:
        if child != 0:
            raise
        outcome = error
    if child == 0:
        expected = SystemExit if isinstance(raised, SystemExit) else PermissionError
        wrong = [not isinstance(outcome, expected), len(recorder.calls) != calls, mapper.closed]
        os._exit(wrong.index(True) + 1 if any(wrong) else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(recorder.calls) >= calls
    check_books(recorder, mapper)


def test_callback_may_look_at_what_needs_no_lock(recorder: AnyRecorder, mapper: DaxMapper, file: HostFile) -> None:
    seen: list[tuple[object, ...]] = []
    recorder.on_call = lambda: seen.append((len(mapper), mapper.stats().live_mappings, mapper.closed, repr(mapper)))
    mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False)
    mapper.remove_mapping(0, PAGE)
    assert [entry[:3] for entry in seen] == [(0, 0, False), (1, 1, False)]


def test_callback_may_use_another_mapper(recorder: AnyRecorder, mapper: DaxMapper, file: HostFile) -> None:
    other_recorder = type(recorder)()
    with other_recorder.mapper() as other:
        recorder.on_call = lambda: other.setup_mapping(file.fd, 0, 0, PAGE, writable=False)
        mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False)
        check_books(recorder, mapper)
        check_books(other_recorder, other)
        assert len(other) == 1


def test_slow_callback_holds_up_the_lock_but_not_the_interpreter(
    recorder: AnyRecorder, mapper: DaxMapper, file: HostFile
) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def wait_once() -> None:
        recorder.on_call = lambda: None
        entered.set()
        assert go_on.wait(PATIENCE)

    recorder.on_call = wait_once
    with ThreadPoolExecutor(4) as pool:
        slow = pool.submit(mapper.setup_mapping, file.fd, 0, 0, PAGE, writable=False)
        assert entered.wait(PATIENCE)
        started = threading.Barrier(4)

        def wait_for_the_lock(call: Callable[[], object]) -> object:
            started.wait(PATIENCE)
            return call()

        waiting: list[Future[object]] = [
            pool.submit(wait_for_the_lock, call)
            for call in (
                lambda: mapper.setup_mapping(file.fd, 0, PAGE, PAGE, writable=True),
                lambda: mapper.lookup(0),
                lambda: list(mapper),
            )
        ]
        started.wait(PATIENCE)
        for _ in range(1000):  # the others come to wait for the lock, and this thread still runs
            os.sched_yield()
            assert mapper.stats().live_mappings == len(mapper) == 0
        assert not slow.done()
        assert not any(call.done() for call in waiting)
        go_on.set()
        slow.result(PATIENCE)
        for call in waiting:
            call.result(PATIENCE)
        assert waiting[1].result() is not None, "it waited for the first mapping"
    assert len(mapper) == 2
    check_books(recorder, mapper)


def test_calls_of_many_threads_come_one_at_a_time(recorder: AnyRecorder, mapper: DaxMapper, file: HostFile) -> None:
    inside = 0
    crowd: list[int] = []

    def enter() -> None:
        nonlocal inside
        inside += 1
        crowd.append(inside)
        os.sched_yield()  # another thread's turn
        inside -= 1

    def use(seed: int) -> None:
        for number in range(100):
            offset = (seed + number) % 5 * PAGE
            try:
                mapper.setup_mapping(file.fd, 0, offset, PAGE, writable=number % 2 == 0)
                mapper.remove_mapping(offset, PAGE)
            except OSError as error:
                if error.errno not in {EEXIST, ENOENT}:
                    raise

    recorder.on_call = enter
    with ThreadPoolExecutor(4) as pool:
        for call in [pool.submit(use, seed) for seed in range(4)]:
            call.result(PATIENCE)
    assert set(crowd) == {1}
    assert len(crowd) == len(recorder.calls) > 100
    check_books(recorder, mapper)


def in_this_thread(call: Callable[[], None]) -> None:
    call()


def in_another_thread(call: Callable[[], None]) -> None:
    thread = threading.Thread(target=call)
    thread.start()
    thread.join(PATIENCE)


@pytest.mark.parametrize("somewhere", [in_this_thread, in_another_thread])
def test_urgent_exception_reaches_the_call_whose_callback_raised_it(
    recorder: AnyRecorder, mapper: DaxMapper, file: HostFile, somewhere: Callable[[Callable[[], None]], None]
) -> None:
    mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False)
    recorder.fail_next(Fault(raises=KeyboardInterrupt()))
    looked: list[object] = []

    def look() -> None:
        try:
            looked.append(mapper.lookup(0))
        except BaseException as error:  # noqa: BLE001
            looked.append(error)

    # The refusal is logged before the call returns, so the handler of the record makes a call before that.
    with recording(logging.WARNING, lambda: somewhere(look)), pytest.raises(KeyboardInterrupt):
        mapper.remove_mapping(0, PAGE)
    assert looked == [mapper.lookup(0)]


def test_urgent_exception_does_not_reach_what_later_callbacks_call(
    recorder: AnyRecorder, mapper: DaxMapper, file: HostFile
) -> None:
    mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False)
    mapper.setup_mapping(file.fd, PAGE, PAGE, PAGE, writable=False)
    with type(recorder)().mapper() as other:
        recorder.on_call = lambda: other.lookup(0)
        recorder.fail_next(Fault(raises=KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            mapper.reset()
    assert recorder.names == ["map", "map", "unmap", "unmap", "unmap"], "the first asked for again, then the second"
    assert recorder.book == {}
    check_books(recorder, mapper)
