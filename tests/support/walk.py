"""Random walks through all that can be done with a mapper, its files and its host.

A walk knows what each call has to come to. After each step, `Subject.agree` compares the mapper's book,
/proc/self/maps, what the guest is shown and the bytes that can be read there with a plain model.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from ctypes import c_int64
from errno import EACCES, EBUSY, EEXIST, EFAULT, EINVAL, EIO, ENOENT
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Generic, TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from support.host import LIBC, PAGE
from support.limits import errno_of
from support.rig import WORD, Mapped, Rig, Subject

FaultT = TypeVar("FaultT")
Range = tuple[int, int]

SLOT_PAGES = (2 << 20) // PAGE
WINDOW_SIZE = 3 * (2 << 20) + PAGE
"""The last slot is a short one."""
FILE_PAGES = 6

_OFFSETS = st.sampled_from([0, 1, 2, 3, SLOT_PAGES - 1, SLOT_PAGES, SLOT_PAGES + 1, 2 * SLOT_PAGES, 3 * SLOT_PAGES])
_LENGTHS = st.sampled_from([1, 1, 1, 2, 3, SLOT_PAGES, SLOT_PAGES + 1])
_RANGES = st.tuples(_OFFSETS, _LENGTHS).map(lambda pages: (pages[0] * PAGE, pages[1] * PAGE))
_FILES = st.integers(0, 1)
_PLACES = st.tuples(_FILES, st.integers(0, FILE_PAGES).map(lambda page: page * PAGE), _RANGES)
_INDICES = st.integers(0, 11)
"""Of a live mapping, modulo how many there are."""
_TARGETS = _INDICES | _INDICES | _RANGES
"""What to remove."""
_CHANGES = st.tuples(
    _FILES,
    st.sampled_from(["truncate", "punch", "write"]),
    st.integers(0, FILE_PAGES * PAGE),
    st.binary(min_size=1, max_size=9),
)
_SETUPS = st.tuples(st.just("set_up"), st.tuples(_INDICES | _PLACES, st.booleans(), st.booleans(), st.booleans()))
_REMOVALS = st.tuples(st.sampled_from(["remove", "remove_range"]), _TARGETS)
_BATCHES = st.tuples(st.just("remove_many"), st.lists(_TARGETS, max_size=8))
_REFRESHES = st.tuples(st.just("refresh"), st.tuples(_FILES, st.booleans()))
_STEPS = st.one_of(
    _SETUPS,
    _SETUPS,
    _SETUPS,
    _REMOVALS,
    _REMOVALS,
    _BATCHES,
    st.tuples(st.sampled_from(["reset", "reset", "reset", "drain"]), st.none()),
    _REFRESHES,
    st.tuples(st.just("while_lent"), st.tuples(_INDICES, _SETUPS | _REMOVALS | _BATCHES | _REFRESHES)),
    st.tuples(st.just("change"), _CHANGES),
    st.tuples(st.just("store"), st.tuples(_INDICES, _INDICES, st.booleans())),
)

WALKS = int(os.environ.get("DAXMAP_MODEL_WALKS", "25"))
_WALKS_AT_ONCE = 100
_SETTINGS = settings(
    max_examples=min(WALKS, _WALKS_AT_ONCE),
    phases=[Phase.reuse, Phase.generate],  # to shrink a failure takes minutes
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
ROUNDS = -(-WALKS // _WALKS_AT_ONCE)
"""How many times to take walks. Those of one round are over in a minute."""
OWN_REFUSALS = {EINVAL, EEXIST, ENOENT, EBUSY}
"""What a mapper says before it asks its backend."""


class Walk(ABC, Generic[FaultT]):
    """Through one mapper after another, over the backend of a rig."""

    fault_lists: ClassVar[st.SearchStrategy[Any]]
    """What a step may meet."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.files = [rig.file(FILE_PAGES) for _ in range(2)]
        self.subject: Subject = rig.open(WINDOW_SIZE)
        self.faults: Sequence[FaultT] = ()
        """What this step meets."""
        self.lent: Mapped | None = None
        """A mapping of which a byte is lent."""

    def go(self, steps: list[tuple[tuple[str, Any], Sequence[FaultT]]]) -> None:
        for (method, argument), self.faults in steps:
            getattr(self, method)(argument)
            if self.subject.mapper.closed:
                assert self.faults
                self.check_given_up()
                self._open_another()
            self.check()

    @abstractmethod
    def strike(self, faults: Sequence[FaultT]) -> None:
        """From now on, these happen, and no others."""

    def check_given_up(self) -> None:
        """Check what a mapper left that closed itself."""
        raise AssertionError("the window was given up")

    def check(self) -> None:
        """Check that all agree with the model."""
        self.subject.agree()
        for mapped in self.subject.model.values():
            shown = len(mapped.file.shown(mapped.file_offset, mapped.length))
            if shown < mapped.length:
                self._check_absent(mapped.window_offset + shown)

    # Calls of the mapper.

    def set_up(self, argument: tuple[int | tuple[int, int, Range], bool, bool, bool]) -> None:
        what, writable, can_write, replace = argument
        wanted = self._wanted(what, writable=writable)
        subject, offset = self.subject, wanted.window_offset
        before = subject.model.get(offset)
        is_upgrade = writable and before == Mapped(offset, wanted.length, wanted.file_offset, not writable, wanted.file)
        refusal = self._refusal_to_set_up(offset, wanted.length, may_overlap=is_upgrade or replace)
        refusal = refusal or self._refusal_while_lent(offset, wanted.length)
        expected = refusal or (EACCES if writable and not can_write else 0)
        with wanted.file.opened(os.O_RDWR if can_write else os.O_RDONLY) as file:
            arguments = file.fd, wanted.file_offset, offset, wanted.length, writable
            errno = self._call(lambda: subject.mapper.setup_mapping(*arguments, replace=replace))
        self._check_outcome(errno, expected)
        if errno == 0:
            subject.model_cut(offset, wanted.length)
            subject.model[offset] = wanted
        elif errno == EIO:
            self._adopt((offset, wanted.length))

    def remove(self, what: int | Range) -> None:
        offset, length = self._range(what)
        errno = self._call(lambda: self.subject.mapper.remove_mapping(offset, length))
        self._check_outcome(errno, self._refusal_to_remove(offset, length))
        if errno == 0:
            del self.subject.model[offset]
        elif errno == EIO:
            self._adopt((offset, length))

    def remove_range(self, what: int | Range) -> None:
        offset, length = self._range(what)
        errno = self._call(lambda: self.subject.mapper.remove_range(offset, length))
        lent = self.lent if self._refusal_while_lent(offset, length) else None
        expected = EINVAL if offset + length > WINDOW_SIZE else EBUSY if lent else 0
        if self.faults and expected == EBUSY:
            assert errno  # that of the first mapping which stays, and a fault may have struck before
        else:
            self._check_outcome(errno, expected)
        if errno in {0, EBUSY}:
            self.subject.model_cut(offset, length)
            if lent is not None:
                self.subject.model_cut(lent.window_offset, lent.length)
                self.subject.model[lent.window_offset] = lent
        if errno == EIO or (errno and expected == EBUSY):
            self._adopt((offset, length))

    def refresh(self, argument: tuple[int, bool]) -> None:
        index, can_write = argument
        mapped = [live for live in self.subject.model.values() if live.file == self.files[index]]
        refreshed: list[int] = []
        with self.files[index].opened(os.O_RDWR if can_write else os.O_RDONLY) as file:
            errno = self._call(lambda: refreshed.append(self.subject.mapper.refresh(file.fd)))
        self._check_outcome(errno, EACCES if not can_write and any(live.writable for live in mapped) else 0)
        assert refreshed == ([] if errno else [len(mapped)])
        if errno:
            self._adopt(*[(live.window_offset, live.length) for live in mapped])

    def while_lent(self, argument: tuple[int, tuple[str, Any]]) -> None:
        index, (method, inner) = argument
        mapped = self._live(index)
        if mapped is None or not self.rig.can_copy:
            return
        mapper = self.subject.mapper
        with mapper.resolve(mapper.base + mapped.window_offset, 1, writable=mapped.writable) as pieces:
            assert len(pieces) == 1
            self.lent = mapped
            getattr(self, method)(inner)
            self.lent = None

    def remove_many(self, entries: list[int | Range]) -> None:
        batch = [self._range(entry) for entry in entries]
        failed: list[tuple[int, int, int]] = []
        assert self._call(lambda: failed.extend(self.subject.mapper.remove_mappings(batch).failed)) == 0
        if self.subject.mapper.closed:
            return  # whether a mapping was kept or lost before that, nobody can see any more
        book = {info.window_offset for info in self.subject.mapper}
        for offset, length in batch:
            refused = self._refusal_to_remove(offset, length)
            answers = [refused or EIO]
            if self.faults and offset not in book:  # it may have been lost, by this entry or by one before
                answers += [EIO, ENOENT]
            found = next((answer for answer in answers if (offset, length, answer) in failed), 0)
            if found:
                assert refused or self.faults
                failed.remove((offset, length, found))
            else:
                assert not refused
                del self.subject.model[offset]
        assert failed == []
        self._adopt(*batch)

    def reset(self, _: None) -> None:
        assert self._call(self.subject.mapper.reset) == 0
        kept = {info.window_offset for info in self.subject.mapper}
        assert self.faults or not kept
        self.subject.model = {offset: live for offset, live in self.subject.model.items() if offset in kept}

    def drain(self, _: None) -> None:
        self.subject.finish()
        self._open_another()

    def _open_another(self) -> None:
        self.subject.abandon()
        self.subject = self.rig.open(WINDOW_SIZE)

    # The files, behind the mapper's back, and the guest.

    def change(self, argument: tuple[int, str, int, bytes]) -> None:
        file, how, offset, data = argument
        if how == "truncate":
            os.ftruncate(self.files[file].fd, offset)
        elif how == "punch":
            punch_hole(self.files[file].fd, offset, PAGE)
        else:
            self.files[file].write(offset, data)

    def store(self, argument: tuple[int, int, bool]) -> None:
        index, page, by_guest = argument
        mapped = self._live(index)
        if mapped is None:
            return
        inside = page % (mapped.length // PAGE) * PAGE
        at, source = mapped.window_offset + inside, mapped.file_offset + inside
        left = os.fstat(mapped.file.fd).st_size - source
        word, mapper = b"DAX!", self.subject.mapper
        expected = EACCES if not mapped.writable else 0 if left > 0 else EFAULT
        if by_guest:
            assert self.rig.store(mapper, at, int.from_bytes(word, "little")) == (expected == 0)
        else:
            assert errno_of(lambda: mapper.write(mapper.base + at, word)) == expected
        if expected == 0:
            length = min(WORD, left)
            assert mapped.file.read(source, length) == word[:length]

    def _check_absent(self, offset: int) -> None:
        """Check that nothing is at a window offset, and that to look there is no signal."""
        mapper = self.subject.mapper
        assert self.rig.peek(mapper, offset, WORD) is None
        assert self.rig.load(mapper, offset) is None
        assert errno_of(lambda: mapper.read(mapper.base + offset, 1)) == EFAULT

    # What a call asks for, and how it ends.

    def _live(self, index: int) -> Mapped | None:
        live = list(self.subject.model.values())
        return live[index % len(live)] if live else None

    def _wanted(self, what: int | tuple[int, int, Range], *, writable: bool) -> Mapped:
        """A mapping like a live one, or another."""
        if isinstance(what, int):
            live = self._live(what) or Mapped(0, PAGE, 0, writable, self.files[0])
            return Mapped(live.window_offset, live.length, live.file_offset, writable, live.file)
        file, source, (offset, length) = what
        return Mapped(offset, length, source, writable, self.files[file])

    def _range(self, what: int | Range) -> Range:
        if not isinstance(what, int):
            return what
        live = self._live(what)
        return (live.window_offset, live.length) if live else (0, PAGE)

    def _refusal_to_set_up(self, offset: int, length: int, *, may_overlap: bool) -> int:
        if offset + length > WINDOW_SIZE:
            return EINVAL
        live = self.subject.model.values()
        is_free = all(offset + length <= m.window_offset or m.window_offset + m.length <= offset for m in live)
        return 0 if is_free or may_overlap else EEXIST

    def _refusal_to_remove(self, offset: int, length: int) -> int:
        live = self.subject.model.get(offset)
        if live is None:
            return ENOENT
        if live.length != length:
            return EINVAL
        return self._refusal_while_lent(offset, length)

    def _refusal_while_lent(self, offset: int, length: int) -> int:
        lent = self.lent
        return EBUSY if lent and offset < lent.end and lent.window_offset < offset + length else 0

    def _call(self, call: Callable[[], object]) -> int:
        """The errno of a call that may meet faults."""
        self.strike(self.faults)
        try:
            return errno_of(call)
        finally:
            self.strike([])

    def _adopt(self, *ranges: Range) -> None:
        """Take the book for the model, after faults in a call that was to change these ranges.

        Each mapping in it was there before, or is what a cut left of one; and outside the ranges, nothing is lost.
        """
        if not self.faults or self.subject.mapper.closed:
            return
        before = dict(self.subject.model)
        for offset, length in ranges:
            self.subject.model_cut(offset, length)
        cut = self.subject.model
        self.subject.adopt_book()
        model = self.subject.model
        assert all(live in (before.get(offset), cut.get(offset)) for offset, live in model.items())
        assert all(model.get(offset) == live for offset, live in before.items() if cut.get(offset) == live)

    def _check_outcome(self, errno: int, expected: int) -> None:
        """Check an outcome: what the mapper refuses itself it refuses before its host can fail."""
        if expected in OWN_REFUSALS or not self.faults:
            assert errno == expected
        else:
            assert errno not in OWN_REFUSALS
            assert errno or not expected


def take_walks(walk_type: type[Walk[Any]], rig_type: type[Rig]) -> None:
    """Take random walks, each over a rig of its own."""

    @_SETTINGS
    @given(st.lists(st.tuples(_STEPS, walk_type.fault_lists), min_size=20, max_size=60))
    def walk(steps: list[tuple[tuple[str, Any], Sequence[Any]]]) -> None:
        with TemporaryDirectory() as directory, rig_type(Path(directory)) as rig:
            walk_type(rig).go(steps)

    walk()


def punch_hole(fd: int, offset: int, length: int) -> None:
    """fallocate(2): the range reads as zeros, and the file keeps its size."""
    keep_size, punch = 1, 2
    assert LIBC.fallocate(fd, keep_size | punch, c_int64(offset), c_int64(length)) == 0
