"""A guest behind some backend, a mapper under test, and the plain model that the mapper has to agree with."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import pytest

from daxmap import DaxMapper, DaxStats, MappingInfo
from support.files import HostFile
from support.host import HOLE, PAGE, Piece, Shown, joined, vmas

FIRST_BASE = 2 << 20
WINDOW_SIZE = 64 << 20
WORD = 4


@dataclass(frozen=True)
class Mapped:
    """What the model knows of a live mapping."""

    window_offset: int
    length: int
    file_offset: int
    writable: bool
    file: HostFile

    @property
    def end(self) -> int:
        """Where it ends in the window."""
        return self.window_offset + self.length

    def part(self, start: int, stop: int) -> "Mapped":
        """What `[start, stop)` of the window shows of it."""
        return replace(
            self, window_offset=start, length=stop - start, file_offset=self.file_offset + start - self.window_offset
        )


def check_balance(stats: DaxStats) -> None:
    """Check the identity that holds whenever no call is under way."""
    departed = stats.remove_count + stats.replaced_count + stats.swept_count + stats.leaked_count + stats.lost_count
    assert stats.setup_count + stats.split_count == departed + stats.live_mappings


def fields(info: MappingInfo) -> tuple[int, int, int, bool, int, int]:
    return info.window_offset, info.length, info.file_offset, info.writable, info.dev, info.ino


class Subject:
    """A mapper, what should be live in it, and checks that mapper, host and guest agree with that."""

    def __init__(self, rig: "Rig", mapper: DaxMapper, release: Callable[[], None]) -> None:
        self.rig = rig
        self.mapper = mapper
        self.release = release
        """Gives back what the backend keeps after the drain."""
        self.model: dict[int, Mapped] = {}
        self._abandoned = False

    def map(  # noqa: PLR0913
        self,
        file: HostFile,
        window_offset: int,
        length: int = PAGE,
        *,
        file_offset: int = 0,
        writable: bool = False,
        replace: bool = False,
    ) -> None:
        """Set a mapping up, upgrade one, or replace what is there, in mapper and model."""
        self.mapper.setup_mapping(file.fd, file_offset, window_offset, length, writable, replace=replace)
        if replace:  # else nothing was there but what is upgraded
            self.model_cut(window_offset, length)
        self.model[window_offset] = Mapped(window_offset, length, file_offset, writable, file)

    def remove_range(self, window_offset: int, length: int) -> None:
        """Have a range show nothing, in mapper and model."""
        self.mapper.remove_range(window_offset, length)
        self.model_cut(window_offset, length)

    def model_cut(self, window_offset: int, length: int) -> None:
        """Take a range out of the model: what reaches out of it is cut."""
        end = window_offset + length
        for live in [m for m in self.model.values() if m.window_offset < end and window_offset < m.end]:
            del self.model[live.window_offset]
            for start, stop in (
                (live.window_offset, min(live.end, window_offset)),
                (max(live.window_offset, end), live.end),
            ):
                if start < stop:
                    self.model[start] = live.part(start, stop)

    def occupy(self) -> None:
        """Set up two mappings that whatever comes must leave alone: one read-only, at 0, one writable, at page 4."""
        self.map(self.rig.file(), 0, 2 * PAGE)
        self.map(self.rig.file(), 4 * PAGE, 2 * PAGE, writable=True)

    def remove(self, window_offset: int, length: int = PAGE) -> None:
        """Remove a mapping from mapper and model."""
        self.mapper.remove_mapping(window_offset, length)
        del self.model[window_offset]

    def adopt_book(self) -> None:
        """Take the mapper's book for the model: for tests in which nobody knows what should be live."""
        files = {file.inode: file for file in self.rig.files}
        self.model = {
            info.window_offset: Mapped(
                info.window_offset, info.length, info.file_offset, info.writable, files[info.ino]
            )
            for info in self.mapper
        }

    def finish(self) -> None:
        """Drain, check that nothing is shown any more, and release."""
        if self._abandoned:
            return
        self.mapper.drain_all()
        self.model.clear()
        self.agree()
        self.release()

    def abandon(self) -> None:
        """Leave it as it is when the rig closes: the test has ended it in its own way."""
        self._abandoned = True

    def agree(self) -> None:
        """Check book, counters, host memory and what the guest sees against the model.

        Of a large window, the guest looks at a sample.
        """
        self._check_book()
        self.rig.check_host(self)
        for mapped in list(self.model.values())[:: 1 + len(self.model) // 500]:
            self._check_bytes(mapped)

    def _check_book(self) -> None:
        expected = [
            (m.window_offset, m.length, m.file_offset, m.writable, m.file.device, m.file.inode)
            for _, m in sorted(self.model.items())
        ]
        assert [fields(info) for info in self.mapper] == expected
        stats = self.mapper.stats()
        assert len(self.mapper) == stats.live_mappings == len(expected)
        assert stats.live_bytes == sum(mapped.length for mapped in self.model.values())
        check_balance(stats)
        assert stats.peak_mappings >= stats.live_mappings

    def _check_bytes(self, mapped: Mapped) -> None:
        content = mapped.file.shown(mapped.file_offset, mapped.length)
        if not content:
            return
        assert self.rig.peek(self.mapper, mapped.window_offset, len(content)) == content
        if self.rig.can_copy:
            assert self.mapper.read(self.mapper.base + mapped.window_offset, len(content)) == content
        last = len(content) - WORD
        for offset in (0, last):
            word = int.from_bytes(content[offset : offset + WORD], "little")
            assert self.rig.load(self.mapper, mapped.window_offset + offset) == word

    def pieces(self, start: int) -> list[Piece]:
        """What the host addresses of the window have to show, where they start at `start`."""
        pieces = []
        reached = start
        for _, mapped in sorted(self.model.items()):
            begin = start + mapped.window_offset
            pieces.append(Piece(reached, begin, HOLE))
            reached = begin + mapped.length
            access = "rw-s" if mapped.writable else "r--s"
            pieces.append(Piece(begin, reached, Shown(access, mapped.file.inode, begin - mapped.file_offset)))
        pieces.append(Piece(reached, start + self.mapper.size, HOLE))
        return joined(pieces)

    @contextmanager
    def refused(self, errno: int) -> Iterator[pytest.ExceptionInfo[OSError]]:
        """Check that the call in the block fails with `errno`, which is counted, and changes nothing else."""
        before = self._footprint()
        errors = self.mapper.stats().errors
        with pytest.raises(OSError, match=r"\w") as caught:
            yield caught
        assert caught.value.errno == errno, caught.value
        assert self.mapper.stats().errors == errors | {errno: errors.get(errno, 0) + 1}
        assert self._footprint() == before
        self.agree()

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """Check that the block changes nothing at all, and that no failure is counted."""
        before = self._footprint(), self.mapper.stats().errors
        yield
        assert (self._footprint(), self.mapper.stats().errors) == before
        self.agree()

    def _footprint(self) -> dict[str, int]:
        """All counters but the failures."""
        counters = self.mapper.stats().as_dict()
        return {name: value for name, value in counters.items() if isinstance(value, int)}


class Rig(ABC):
    """One guest behind one kind of backend, its windows, and files to show in them. A context manager.

    Leaving it drains and releases every window, and checks that the process keeps no mapping of a file.
    """

    can_copy: ClassVar[bool] = True
    """Whether the mapper itself can copy in and out of the window: its `read` and `write`."""
    many_calls: ClassVar[int] = 50_000
    """How many calls of a mapper a thread makes in a test that is about many."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers = count()
        self.files: list[HostFile] = []
        self._next_base = FIRST_BASE
        self.subjects: list[Subject] = []

    def file(self, pages: int = 4) -> HostFile:
        """A new file of so many pages."""
        file = HostFile(self._directory / f"file{next(self._numbers)}", pages)
        self.files.append(file)
        return file

    def open(self, size: int = WINDOW_SIZE, *, readonly: bool = False, max_mappings: int | None = None) -> Subject:
        """A mapper over a window that is new to the guest."""
        base, self._next_base = self._next_base, self._next_base + size
        subject = self.attach(base, size, readonly=readonly, max_mappings=max_mappings)
        self.subjects.append(subject)
        return subject

    def mapped(self) -> list[Piece]:
        """Where this process maps one of the files, for whatever purpose."""
        inodes = {file.inode for file in self.files}
        return [vma for vma in vmas() if vma.shown.inode in inodes]

    def close(self) -> None:
        """Let go of every window, and of the files. What a check finds is raised when all is done."""
        with ExitStack() as undo:
            for file in self.files:
                undo.callback(file.close)
            undo.callback(self._check_unmapped)
            for subject in self.subjects:
                undo.callback(subject.finish)

    def _check_unmapped(self) -> None:
        assert self.mapped() == []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()

    @abstractmethod
    def attach(self, base: int, size: int, *, readonly: bool, max_mappings: int | None) -> Subject:
        """A mapper over the guest's addresses `[base, base + size)`."""

    @abstractmethod
    def check_host(self, subject: Subject) -> None:
        """Check that the host maps what the model says, as it says, and nothing else."""

    @abstractmethod
    def peek(self, mapper: DaxMapper, offset: int, length: int) -> bytes | None:
        """What the backend shows in a range of the window, or None where it does not show all of it."""

    @abstractmethod
    def load(self, mapper: DaxMapper, offset: int) -> int | None:
        """The 32-bit word that the guest loads at a window offset, or None where its access is refused."""

    @abstractmethod
    def store(self, mapper: DaxMapper, offset: int, value: int) -> bool:
        """Have the guest store a 32-bit word; False where its access is refused."""
