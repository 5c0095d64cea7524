"""Signal handlers that raise, Ctrl-C's say, at any moment of a call: each arrives, and book and guest agree."""

import logging
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random

import pytest

from daxmap import Access, DaxDispatcher, DaxMapper, HypervisorBackend
from support.children import run_in_child
from support.guest_requests import init_request, map_request, unmap_request
from support.host import PAGE
from support.recording import BASE, SIZE, ProtectingHypervisor, RecordingHypervisor, check_books
from support.records import recording
from support.rig import Rig

INTERRUPTS = 2000
PAGES = 8


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    """Python's own, which a process that a shell started in the background does not have: there SIGINT is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Guest:
    """A hypervisor that does not mind to be asked for the same once more."""

    def __init__(self) -> None:
        self.shown: dict[int, tuple[int, bool]] = {}

    def map(self, _host_address: int, guest_address: int, length: int, access: Access) -> None:
        self.shown[guest_address] = length, bool(access & Access.WRITE)

    def unmap(self, guest_address: int, _length: int) -> None:
        self.shown.pop(guest_address, None)

    def protect(self, guest_address: int, length: int, access: Access) -> None:
        self.shown[guest_address] = length, bool(access & Access.WRITE)


class Interrupter(threading.Thread):
    """Sends SIGINT to the main thread at random moments: each once the one before has arrived."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.allowed = 0
        self.sent = 0
        self.arrived = 0
        self._next = threading.Semaphore(0)

    def run(self) -> None:
        random = Random(1)  # noqa: S311
        main = threading.main_thread().ident
        assert main is not None
        while self.sent < INTERRUPTS:
            self._next.acquire()
            for _ in range(random.randrange(500)):
                pass
            signal.pthread_kill(main, signal.SIGINT)
            self.sent += 1

    def allow_one(self) -> None:
        """Let one more come, if none is on its way."""
        if self.allowed == self.arrived:
            self.allowed += 1
            self._next.release()


class Mess:
    """Mappers, a dispatcher, and calls of them at random."""

    def __init__(self, rig: Rig) -> None:
        self.guest = Guest()
        self.mappers: list[DaxMapper] = []
        self._fd = rig.file(PAGES).fd
        self._window = rig.open()
        self._random = Random(2)  # noqa: S311

    @property
    def mapper(self) -> DaxMapper:
        """The one over the hypervisor. Made and kept in one go: one that is dropped between could not be drained."""
        if not self.mappers or self.mappers[-1].closed:
            self.mappers.extend(map(partial(DaxMapper, BASE, SIZE), [HypervisorBackend(self.guest)]))
        return self.mappers[-1]

    def stir(self) -> None:
        """One call, whatever comes of it."""
        random = self._random
        mapper = self._window.mapper if random.random() < 0.3 else self.mapper
        offset, length = random.randrange(PAGES) * PAGE, random.choice((PAGE, 2 * PAGE))
        dispatcher = DaxDispatcher(mapper, self._resolve)
        call: Callable[[], object] = random.choice(
            (
                lambda: mapper.setup_mapping(self._fd, 0, offset, length, random.random() < 0.5, replace=True),
                lambda: mapper.setup_mapping(self._fd, offset, offset, PAGE, writable=True),
                lambda: mapper.remove_mapping(offset, length),
                lambda: mapper.remove_range(offset, length),
                lambda: mapper.remove_mappings([(page * PAGE, PAGE) for page in range(PAGES)]),
                lambda: mapper.lookup(offset),
                lambda: mapper.read(mapper.base + offset, length),
                lambda: list(mapper),
                lambda: dispatcher.handle(map_request(random.randrange(4), offset, length=length)),
                lambda: dispatcher.handle(unmap_request((offset, length))),
                lambda: dispatcher.handle(map_request(1, offset)[:-1]),
                lambda: dispatcher.handle(init_request()),
                mapper.reset,
                self.mapper.drain_all,
            )
        )
        with suppress(OSError):
            call()

    def _resolve(self, nodeid: int, _fh: int | None, _writable: bool) -> int:  # noqa: FBT001
        if nodeid == 0:
            raise ValueError("a traceback in the log")
        if nodeid == 1:
            raise FileNotFoundError(2, "a warning")
        return self._fd

    def agree(self) -> None:
        """Check that book and guest do, and of the host window the host too."""
        mapper = self.mapper
        book = {BASE + info.window_offset: (info.length, info.writable) for info in mapper}
        assert book == self.guest.shown
        assert mapper.stats().lost_count == 0
        assert len(self._window.mapper) == self._window.mapper.stats().live_mappings

    def end(self) -> None:
        self.agree()
        self.mapper.drain_all()
        assert not self.guest.shown
        self._window.adopt_book()
        self._window.agree()


class Formatting(logging.Handler):
    """Takes its time, in Python code."""

    def emit(self, record: logging.LogRecord) -> None:
        self.format(record)


def stir_until_interrupted(mess: Mess, interrupter: Interrupter) -> None:
    interrupter.allow_one()
    while True:
        was_sent = interrupter.sent > interrupter.arrived
        mess.stir()
        assert not was_sent, f"interrupt {interrupter.sent} was lost"


def mend_standard_library() -> None:
    """Keep two faults of CPython out of the count, which an interrupt meets as a resolver's traceback is formatted."""

    def text_of(value: object, _what: str, func: Callable[[object], str] = str) -> str:
        return func(value)

    vars(traceback)["_safe_string"] = text_of  # a bare `except:` of its own swallows the interrupt
    warnings.filterwarnings("ignore", "unclosed file", ResourceWarning)  # `tokenize.open` leaves the source open


def interrupted_at_random(rig: Rig) -> None:
    mend_standard_library()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.setswitchinterval(1e-5)  # else threads take turns only where one waits
    mess, interrupter = Mess(rig), Interrupter()
    logger = logging.getLogger("daxmap")
    logger.addHandler(Formatting())
    logger.setLevel(logging.DEBUG)
    interrupter.start()
    for _ in range(INTERRUPTS):
        with pytest.raises(KeyboardInterrupt):
            stir_until_interrupted(mess, interrupter)
        mess.agree()
        interrupter.arrived += 1
    mess.end()


def test_interrupts_at_random_moments_all_arrive(tmp_path: Path) -> None:
    run_in_child(interrupted_at_random, "host-window", tmp_path)


CALLS: dict[str, Callable[[DaxMapper, int], object]] = {
    "setup_mapping": lambda mapper, fd: mapper.setup_mapping(fd, 0, 2 * PAGE, PAGE, writable=False),
    "upgrade": lambda mapper, fd: mapper.setup_mapping(fd, 0, 0, PAGE, writable=True),
    "refused setup_mapping": lambda mapper, fd: mapper.setup_mapping(fd, 0, 0, 2 * PAGE, writable=False),
    "remove_mapping": lambda mapper, _: mapper.remove_mapping(0, PAGE),
    "refused remove_mapping": lambda mapper, _: mapper.remove_mapping(PAGE, PAGE),
    "remove_range": lambda mapper, _: mapper.remove_range(0, 2 * PAGE),
    "remove_mappings": lambda mapper, _: mapper.remove_mappings([(0, PAGE), (PAGE, PAGE)]),
    "read of nothing": lambda mapper, _: mapper.read(0, 1),
    "write of nothing": lambda mapper, _: mapper.write(0, b"x"),
    "refresh": lambda mapper, fd: mapper.refresh(fd),
    "reset": lambda mapper, _: mapper.reset(),
    "drain_all": lambda mapper, _: mapper.drain_all(),
    "close": lambda mapper, _: mapper.close(),
    "leaving the block": lambda mapper, _: mapper.__exit__(None, None, None),
    "SETUPMAPPING": lambda mapper, fd: handle(mapper, lambda *_: fd, map_request(1, 2 * PAGE, length=PAGE)),
    "refused SETUPMAPPING": lambda mapper, _: handle(mapper, refuse, map_request(1, 0, length=PAGE)),
    "failed SETUPMAPPING": lambda mapper, _: handle(mapper, fail, map_request(1, 0, length=PAGE)),
    "malformed SETUPMAPPING": lambda mapper, _: handle(mapper, refuse, map_request(1, 0)[:-1]),
    "REMOVEMAPPING": lambda mapper, _: handle(mapper, refuse, unmap_request((0, PAGE))),
    "INIT": lambda mapper, _: handle(mapper, refuse, init_request()),
}
"""Of a mapper with one mapping, of one page: each call writes at least one record."""


def handle(mapper: DaxMapper, resolver: Callable[..., int], request: bytes) -> object:
    return DaxDispatcher(mapper, resolver).handle(request)


def refuse(*_: object) -> int:
    raise FileNotFoundError(2, "no such node")


def fail(*_: object) -> int:
    raise ValueError("no such node")


@pytest.mark.parametrize("name", CALLS)
def test_interrupt_in_a_handler_of_records_is_raised_after_the_call(name: str, tmp_path: Path) -> None:
    recorder = ProtectingHypervisor()
    mapper = recorder.mapper()
    try:
        with (tmp_path / "file").open("w+b", buffering=0) as file:
            file.truncate(4 * PAGE)
            mapper.setup_mapping(file, 0, 0, PAGE, writable=False)
            errors = mapper.stats().errors
            with recording(logging.DEBUG, partial(signal.raise_signal, signal.SIGINT)) as records:
                with pytest.raises(KeyboardInterrupt):
                    CALLS[name](mapper, file.fileno())
                assert records.records
            check_books(recorder, mapper)
            if "refused remove" in name:
                assert mapper.stats().errors == errors | {2: 1}, "the call was made"
    finally:
        mapper.close()


def test_interrupt_while_the_level_of_the_logger_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(_level: int) -> bool:
        signal.raise_signal(signal.SIGINT)
        return True

    with RecordingHypervisor().mapper() as mapper, (tmp_path / "file").open("w+b") as file:
        logger = logging.getLogger("daxmap")
        logger.setLevel(logger.level)  # forgets what was asked before
        monkeypatch.setattr(logger, "isEnabledFor", asked)
        with pytest.raises(KeyboardInterrupt):
            mapper.setup_mapping(file, 0, 0, PAGE, writable=False)
        monkeypatch.undo()
        assert len(mapper) == 1


class TalkativeError(Exception):
    def __str__(self) -> str:
        signal.raise_signal(signal.SIGINT)
        return "no"


class Stubborn(RecordingHypervisor):
    def map(self, *_: object) -> int | None:
        raise TalkativeError


def test_interrupt_while_the_text_of_a_callbacks_exception_is_made(tmp_path: Path) -> None:
    with Stubborn().mapper() as mapper, (tmp_path / "file").open("w+b") as file, pytest.raises(KeyboardInterrupt):
        mapper.setup_mapping(file, 0, 0, PAGE, writable=False)


def test_interrupt_while_the_text_of_a_resolvers_exception_is_made() -> None:
    def resolve(*_: object) -> int:
        raise TalkativeError

    with RecordingHypervisor().mapper() as mapper, pytest.raises(KeyboardInterrupt):
        handle(mapper, resolve, map_request(1, 0, length=PAGE))


class Meeting:
    """Two mappers whose callbacks use each other, from two threads: each waits for the other."""

    def __init__(self) -> None:
        self.recorders = RecordingHypervisor(), RecordingHypervisor()
        self.mappers = [recorder.mapper() for recorder in self.recorders]
        self.both_are_in = threading.Barrier(3)

    def meet(self, fd: int, which: int) -> None:
        def use_the_other() -> None:
            self.recorders[which].on_call = lambda: None
            self.both_are_in.wait()
            self.mappers[1 - which].lookup(0)

        self.recorders[which].on_call = use_the_other
        self.mappers[which].setup_mapping(fd, 0, 0, PAGE, writable=False)


@pytest.mark.parametrize("raised", [KeyboardInterrupt, LookupError])
def test_wait_of_mappers_for_each_other_ends_by_a_signal(raised: type[BaseException], tmp_path: Path) -> None:
    """The handler lets the first few signals go: by then the main thread surely waits."""
    meeting, handled = Meeting(), threading.Semaphore(0)
    count = 0

    def handler(_signal: int, _frame: object) -> None:
        nonlocal count
        count += 1
        handled.release()
        if count == 10:
            raise raised

    def press(main: int) -> None:
        meeting.both_are_in.wait()
        for _ in range(10):
            signal.pthread_kill(main, signal.SIGUSR1)
            handled.acquire()

    before = signal.signal(signal.SIGUSR1, handler)
    with (tmp_path / "file").open("w+b") as file:
        other = threading.Thread(target=meeting.meet, args=(file.fileno(), 1))
        presser = threading.Thread(target=press, args=[threading.get_ident()])
        other.start()
        presser.start()
        try:
            with pytest.raises((raised, OSError)) as caught:
                meeting.meet(file.fileno(), 0)
        finally:
            presser.join()
            other.join()
            signal.signal(signal.SIGUSR1, before)
    error = caught.value if raised is KeyboardInterrupt else caught.value.__cause__
    assert isinstance(error, raised)
    for recorder, mapper, live in zip(meeting.recorders, meeting.mappers, (0, 1), strict=True):
        check_books(recorder, mapper)
        assert len(mapper) == live
        mapper.close()
