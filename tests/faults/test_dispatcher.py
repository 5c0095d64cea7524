"""Any call fails, or any two, while a dispatcher answers a request: the reply tells it; book, host and guest agree.

It happens in a process of its own, in which tests/support/faults.c stands between the mapper and the kernel.
"""

import logging
from collections.abc import Iterator
from errno import EAGAIN, EMFILE, ENOMEM
from pathlib import Path

from daxmap import DaxDispatcher
from daxmap.fuse import FUSE_DESTROY, request
from support import faults
from support.children import run_in_child
from support.damage import FREE, check_given_up, opened
from support.faults import Call, Effect, Fault
from support.guest_requests import READ_WRITE, WHOLE_WINDOW, init_request, map_request, told, unmap_request
from support.host import PAGE
from support.records import recording
from support.rig import Rig

CALLS = (Call.PLACE, Call.CLEAR, Call.REFILL, Call.PROBE, Call.QUERY, Call.SET_SLOT, Call.DELETE_SLOT)
LIVE = [(0, PAGE), (PAGE, PAGE), (2 * PAGE, PAGE)]
"""What is mapped before a request: pages of a file, the first three of the window."""
REQUESTS = (
    map_request(1, FREE, length=2 * PAGE, flags=READ_WRITE),
    map_request(1, PAGE, length=3 * PAGE, foffset=4 * PAGE),  # two are replaced
    map_request(1, 0, length=PAGE, flags=READ_WRITE),  # an upgrade
    unmap_request(LIVE[1]),
    unmap_request(LIVE[2], LIVE[0]),
    unmap_request((0, WHOLE_WINDOW)),
    init_request(),
    request(FUSE_DESTROY, b"", unique=1),
)

Made = dict[Call | None, int]
"""How often each call was made, and the resolver was asked, which is `None`."""
Plan = dict[Call | None, Fault]
"""What fails."""


class Guest:
    """One that makes requests, of a new mapper whenever the last one was given up."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._asked = 0
        self._refusals = 0
        self._done: set[tuple[int, int, bool]] = set()
        self._begin()

    def _begin(self) -> None:
        self._subject = opened(self._rig)
        self._dispatcher = DaxDispatcher(self._subject.mapper, self._resolve)

    def _resolve(self, *_: object) -> int:
        self._asked += 1
        if self._refusals > 0:
            self._refusals -= 1
            raise OSError(EMFILE, "no descriptor is left")
        return self._rig.files[-1].fd

    def _counts(self) -> Made:
        return {**{call: faults.count(call) for call in CALLS}, None: self._asked}

    def _fail(self, plan: Plan) -> None:
        for call in CALLS:
            faults.plan(call, plan.get(call))
        self._refusals = 1 if None in plan else 0

    def _book(self) -> set[tuple[int, int, bool]]:
        """Each page of the window that shows one of the file: which one, and how."""
        return {
            (at, at - info.window_offset + info.file_offset, info.writable)
            for info in self._subject.mapper
            for at in range(info.window_offset, info.window_offset + info.length, PAGE)
        }

    def ask(self, message: bytes, plan: Plan) -> Made:
        """Make the request while calls fail as planned, and check what is left. Which calls were made."""
        subject, mapper = self._subject, self._subject.mapper
        mapper.reset()
        for offset, length in LIVE:
            mapper.setup_mapping(self._rig.files[-1].fd, offset, offset, length, writable=False)
        before, counts = self._book(), self._counts()
        self._fail(plan)
        reply = self._dispatcher.handle(message)
        self._fail({})
        made = {call: number - counts[call] for call, number in self._counts().items()}
        errno = 0 if reply is None else told(reply)
        assert errno != EAGAIN, "a guest would ask again, for ever"
        if mapper.closed:
            assert plan, "given up, and nothing failed"
            check_given_up(subject, None)
            self._begin()
            return made
        subject.adopt_book()
        subject.agree()
        if not plan:
            self._done = self._book()
        elif errno == 0 and reply is not None:
            assert self._book() == self._done, plan
        else:
            assert self._book() <= before | self._done, plan
        assert told(self._dispatcher.handle(map_request(1, 2 * FREE, length=PAGE))) == 0
        return made


def with_one_more(plan: Plan, made: Made) -> Iterator[Plan]:
    """The same plan, but that one call more fails of those that were made."""
    error = ENOMEM if plan else EAGAIN
    for call, number in made.items():
        effects = (Effect.KEEP, Effect.EMPTY) if call in {Call.PLACE, Call.CLEAR} else (Effect.KEEP,)
        if call in plan:
            first = plan[call]
            if first.skip + 1 < number:
                yield {**plan, call: Fault(first.error, first.effect, first.skip, times=2)}
        else:
            for skip in range(number):
                for effect in effects:
                    yield {**plan, call: Fault(error, effect, skip)}


def any_two_calls_fail(rig: Rig) -> None:
    with recording(logging.WARNING):
        guest = Guest(rig)
        for message in REQUESTS:
            for one in with_one_more({}, guest.ask(message, {})):
                for two in with_one_more(one, guest.ask(message, one)):
                    guest.ask(message, two)


def test_any_two_calls_fail(window_backend: str, fault_library: Path, tmp_path: Path) -> None:
    run_in_child(any_two_calls_fail, window_backend, tmp_path, preload=fault_library)
