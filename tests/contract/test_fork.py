"""A forked child has a copy of the mapper, but the window is its parent's."""

import gc
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from errno import ENODEV, EPERM
from pathlib import Path

import pytest

from daxmap import DaxMapper, HostWindowBackend
from support.children import run_in_child
from support.forks import end_when_it_hangs, in_fork
from support.host import PAGE
from support.programs import TIMEOUT
from support.rig import Rig, Subject
from support.rigs import HostWindowRig

MARK = 0x2158_4144


@pytest.fixture
def subject(rig: Rig) -> Subject:
    """A mapper with a read-only and a writable mapping."""
    subject = rig.open()
    subject.occupy()
    return subject


CALLS: dict[str, Callable[[Subject], object]] = {
    "setup_mapping": lambda s: s.mapper.setup_mapping(s.rig.files[0].fd, 0, 8 * PAGE, PAGE, writable=False),
    "upgrade": lambda s: s.mapper.setup_mapping(s.rig.files[0].fd, 0, 0, 2 * PAGE, writable=True),
    "setup_mapping of nothing": lambda s: s.mapper.setup_mapping(-1, 1, 1, 0, writable=True),
    "remove_mapping": lambda s: s.mapper.remove_mapping(0, 2 * PAGE),
    "remove_mapping of nothing": lambda s: s.mapper.remove_mapping(1, 0),
    "remove_mappings": lambda s: s.mapper.remove_mappings([(0, 2 * PAGE)]),
    "remove_mappings of none": lambda s: s.mapper.remove_mappings([]),
    "reset": lambda s: s.mapper.reset(),
    "drain_all": lambda s: s.mapper.drain_all(),
    "close": lambda s: s.mapper.close(),
    "read": lambda s: s.mapper.read(s.mapper.base, 1),
    "read of nothing": lambda s: s.mapper.read(0, 0),
    "write": lambda s: s.mapper.write(s.mapper.base + 4 * PAGE, b"x"),
    "lookup": lambda s: s.mapper.lookup(0),
    "map_file": lambda s: s.mapper.map_file(s.rig.files[0].fd),
    "resolve": lambda s: s.mapper.resolve(s.mapper.base, 1, writable=False).__enter__(),
    "explain": lambda s: s.mapper.explain(s.mapper.base),
    "export_state": lambda s: s.mapper.export_state(),
    "render": lambda s: s.mapper.render(),
    "iteration": lambda s: iter(s.mapper),
}


def check_calls_are_refused(subject: Subject) -> None:
    for name, call in CALLS.items():
        with pytest.raises(PermissionError) as caught:
            call(subject)
        assert caught.value.errno == EPERM, name


def test_leaving_the_context_in_a_child_does_nothing(subject: Subject) -> None:
    """A child that ends inside `with mapper:` leaves it, and did not mean the parent's window."""
    with subject.untouched():
        in_fork(lambda: subject.mapper.__exit__(None, None, None))


def test_calls_in_a_child_are_refused_and_the_parent_goes_on(subject: Subject) -> None:
    with subject.untouched():
        in_fork(lambda: check_calls_are_refused(subject))
    assert subject.rig.store(subject.mapper, 4 * PAGE, MARK)
    subject.remove(0, 2 * PAGE)
    subject.map(subject.rig.files[0], 0, writable=True)
    subject.agree()


def test_calls_in_a_grandchild_are_refused(subject: Subject) -> None:
    in_fork(lambda: in_fork(lambda: check_calls_are_refused(subject)))
    subject.agree()


def test_what_touches_no_window_works_in_a_child(subject: Subject) -> None:
    stats = subject.mapper.stats()

    def look() -> None:
        assert subject.mapper.stats() == stats
        assert not subject.mapper.closed
        assert subject.mapper.size > 0
        assert repr(subject.mapper)

    in_fork(look)


def test_child_that_leaves_the_block_leaves_the_window(subject: Subject) -> None:
    def leave() -> None:
        with pytest.raises(SystemExit, match="7"), subject.mapper:
            raise SystemExit(7)
        assert not subject.mapper.closed

    with subject.untouched():
        in_fork(leave)


def test_drained_mapper_is_closed_in_a_child_too(subject: Subject) -> None:
    subject.mapper.drain_all()
    subject.model.clear()

    def check() -> None:
        with pytest.raises(OSError, match="closed") as caught:
            subject.mapper.reset()
        assert caught.value.errno == ENODEV
        subject.mapper.drain_all()
        assert list(subject.mapper) == []

    in_fork(check)


def test_drop_in_a_child_leaves_the_parents_window(subject: Subject) -> None:
    mapper = weakref.ref(subject.mapper)

    def drop() -> None:
        del subject.mapper
        gc.collect()
        assert mapper() is None

    with subject.untouched():
        in_fork(drop)


def test_exit_of_a_child_leaves_the_parents_window(window_backend: str, tmp_path: Path) -> None:
    run_in_child(child_that_exits, window_backend, tmp_path)


def child_that_exits(rig: Rig) -> None:
    """The child leaves as programs do, by the interpreter's finalization."""
    subject = rig.open()
    subject.map(rig.file(), 0, writable=True)
    child = os.fork()
    if child == 0:
        end_when_it_hangs()
        sys.exit(7)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7
    assert rig.store(subject.mapper, 0, MARK)
    subject.agree()


def test_killed_child_leaves_the_parents_window(subject: Subject) -> None:
    child = os.fork()
    if child == 0:
        os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    subject.agree()


@pytest.mark.usefixtures("needs_copies")
def test_calls_in_a_child_wait_for_no_lock(rig: Rig) -> None:
    """The thread that has the lock in the parent, mostly, is not there in the child to let it go."""
    subject = rig.open()
    pages = (16 << 20) // PAGE
    subject.map(rig.file(pages), 0, pages * PAGE)
    stop = threading.Event()

    def keep_the_lock() -> None:
        while not stop.is_set():
            subject.mapper.read(subject.mapper.base, pages * PAGE)

    thread = threading.Thread(target=keep_the_lock)
    thread.start()
    try:
        for _ in range(10):
            in_fork(lambda: check_calls_are_refused(subject))  # a wait for the lock would be for ever
    finally:
        stop.set()
        thread.join()


def test_looks_at_a_closed_mapper_in_a_child_wait_for_no_lock(rig: Rig) -> None:
    """Nor does what its host window says of itself: the thread that has the lock is not there to let it go."""
    backend = HostWindowBackend()
    mapper = DaxMapper(1 << 40, 2 << 20, backend)
    mapper.drain_all()
    stop = threading.Event()

    def look() -> None:
        mapper.lookup(0)
        list(mapper)
        repr(backend)

    def keep_looking() -> None:
        while not stop.is_set():
            look()

    def check() -> None:
        for _ in range(10):
            look()

    threads = [threading.Thread(target=keep_looking) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(100):
            in_fork(check)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    backend.release()
    assert rig.mapped() == []


def test_mapper_made_in_a_child_works_there(subject: Subject, tmp_path: Path) -> None:
    def use() -> None:
        with HostWindowRig(tmp_path / "child") as rig:
            own = rig.open(2 << 20)
            own.map(rig.file(), 0, writable=True)
            own.agree()
            in_fork(lambda: check_calls_are_refused(subject))

    (tmp_path / "child").mkdir()
    in_fork(use)
    subject.agree()


def test_window_of_the_parent_s_takes_no_mapper_in_a_child() -> None:
    backend = HostWindowBackend()

    def make_mapper() -> None:
        with pytest.raises(PermissionError, match="made before the process forked"):
            DaxMapper(1 << 40, 2 << 20, backend)

    in_fork(make_mapper)
    with DaxMapper(1 << 40, 2 << 20, backend) as mapper:
        assert mapper.host_address is not None
    backend.release()


def test_release_in_a_child_is_refused(rig: Rig) -> None:
    backend = HostWindowBackend()
    mapper = DaxMapper(1 << 40, 2 << 20, backend)

    def release() -> None:
        with pytest.raises(PermissionError):
            backend.release()

    in_fork(release)
    mapper.drain_all()
    in_fork(release)
    backend.release()
    assert rig.mapped() == []


def test_program_started_by_the_vmm_makes_it_no_child(subject: Subject) -> None:
    subprocess.run([sys.executable, "-c", ""], check=True, timeout=TIMEOUT)
    subprocess.run([sys.executable, "-c", ""], check=True, timeout=TIMEOUT, preexec_fn=lambda: None)
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
    subject.map(subject.rig.files[0], 16 * PAGE)
    subject.agree()
