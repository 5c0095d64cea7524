"""The demo's steps: what a newcomer should see DAX do. They do not know what kind of guest they run on."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from daxmap.demo.machine import AccessRefusedError, Guest, GuestError

_FILE_SIZE = 64 << 10
_RANGE = 2 << 20  # a Linux guest hands out its window in ranges of 2 MiB
_MARK = b"DAX!"


@dataclass(frozen=True)
class Scene:
    """A guest, the end of its RAM, and the directory that it shares with the host.

    Args:
        guest: the guest, with a mapper over a window of at least 4 MiB.
        ram_end: guest physical address just past its RAM.
        directory: an empty directory; the demo's files are put there.
    """

    guest: Guest
    ram_end: int
    directory: Path
    content: bytes = field(default_factory=lambda: os.urandom(_FILE_SIZE))

    def __post_init__(self) -> None:
        self.source.write_bytes(self.content)
        self.target.write_bytes(bytes(_FILE_SIZE))

    @property
    def source(self) -> Path:
        """The file that is copied: random bytes."""
        return self.directory / "source.bin"

    @property
    def target(self) -> Path:
        """The file that it is copied to: zeros at first."""
        return self.directory / "target.bin"

    @property
    def source_address(self) -> int:
        """Guest physical address of the source file: window offset 0."""
        return self.guest.mapper.base

    @property
    def target_address(self) -> int:
        """Guest physical address of the target file: window offset 2 MiB."""
        return self.guest.mapper.base + _RANGE


@dataclass(frozen=True)
class Step:
    """One step: what it is called, what it teaches, and the action that tells what was seen."""

    name: str
    title: str
    lesson: str
    act: Callable[[Scene], str]


@dataclass(frozen=True)
class Outcome:
    """How a step went: `detail` is what was seen, or what was wrong."""

    step: Step
    ok: bool
    detail: str


class StepFailedError(Exception):
    """Something was not as it must be."""


def tell(scene: Scene) -> Iterator[Outcome]:
    """Do the steps one after another; a step that fails is the last one."""
    for step in STEPS:
        try:
            detail = step.act(scene)
        except (StepFailedError, GuestError, OSError) as error:
            yield Outcome(step, ok=False, detail=f"{type(error).__name__}: {error}")
            return
        yield Outcome(step, ok=True, detail=detail)


def _place(scene: Scene) -> str:
    mapper = scene.guest.mapper
    _check(mapper.base >= scene.ram_end, "the window overlaps RAM")
    return (
        f"RAM ends at {scene.ram_end:#x}; the window is [{mapper.base:#x}, {mapper.base + mapper.size:#x}), "
        f"{mapper.size >> 20} MiB of addresses and no memory yet."
    )


def _map(scene: Scene) -> str:
    mapper = scene.guest.mapper
    with scene.source.open("rb") as file:
        mapper.setup_mapping(file, 0, 0, _FILE_SIZE, writable=False)
    with scene.target.open("r+b") as file:
        mapper.setup_mapping(file, 0, _RANGE, _FILE_SIZE, writable=True)
    _check(len(mapper) == 2, f"{len(mapper)} mappings are live, not 2")  # noqa: PLR2004
    return (
        f"source.bin, {_FILE_SIZE} random bytes, is read-only at {scene.source_address:#x}; "
        f"target.bin, as many zeros, is writable at {scene.target_address:#x}."
    )


def _copy(scene: Scene) -> str:
    scene.guest.copy(scene.source_address, scene.target_address, _FILE_SIZE)
    _check(scene.target.read_bytes() == scene.content, "target.bin differs from what source.bin held")
    _check(scene.source.read_bytes() == scene.content, "source.bin has changed")
    return f"{scene.guest.method} On the host, target.bin now equals source.bin, byte for byte."


def _refuse(scene: Scene) -> str:
    reason = _refusal(lambda: scene.guest.store(scene.source_address, _word(_MARK)))
    _check(scene.source.read_bytes() == scene.content, "source.bin has changed")
    return f"Refused ({reason}), and source.bin is unchanged."


def _upgrade(scene: Scene) -> str:
    mapper = scene.guest.mapper
    with scene.source.open("r+b") as file:
        mapper.setup_mapping(file, 0, 0, _FILE_SIZE, writable=True)
    scene.guest.store(scene.source_address, _word(_MARK))
    changed = _MARK + scene.content[len(_MARK) :]
    _check(scene.source.read_bytes() == changed, "source.bin does not hold the guest's word and the old rest")
    loaded = scene.guest.load(scene.source_address)
    _check(loaded == _word(_MARK), f"the guest loads {loaded:#x} back")
    _check(mapper.stats().upgrade_count == 1, f"{mapper.stats().upgrade_count} upgrades were counted, not 1")
    return f"The same store now reaches the file: on the host, source.bin begins with {_MARK.decode()!r}."


def _remove(scene: Scene) -> str:
    mapper = scene.guest.mapper
    result = mapper.remove_mappings([(0, _FILE_SIZE), (_RANGE, _FILE_SIZE)])
    _check(result.errno == 0, f"not all mappings went: {result.failed}")
    reason = _refusal(lambda: scene.guest.load(scene.source_address))
    return f"{result.removed} mappings removed; a load from {scene.source_address:#x} is refused ({reason})."


def _balance(scene: Scene) -> str:
    stats = scene.guest.mapper.stats()
    gone = stats.remove_count + stats.swept_count + stats.leaked_count + stats.lost_count
    _check(stats.setup_count == gone + stats.live_mappings, f"the counters do not balance: {stats.as_dict()}")
    return (
        f"{stats.setup_count} set up = {stats.remove_count} removed + {stats.swept_count} swept"
        f" + {stats.leaked_count} leaked + {stats.lost_count} lost + {stats.live_mappings} live;"
        f" upgraded: {stats.upgrade_count}."
    )


def _check(right: bool, wrong: str) -> None:  # noqa: FBT001  (a claim, not a switch)
    if not right:
        raise StepFailedError(wrong)


def _refusal(access: Callable[[], object]) -> str:
    """Do what must be refused, and return how it was."""
    try:
        access()
    except AccessRefusedError as refused:
        return str(refused)
    raise StepFailedError("the guest was let through")


def _word(data: bytes) -> int:
    return int.from_bytes(data, "little")


STEPS = (
    Step(
        "place",
        "Put a DAX window above the guest's RAM",
        "Without DAX (direct access), a virtiofs guest asks the host for the contents of a file by message,"
        " and keeps a copy in its own RAM. With DAX, the host's own pages of the file appear in the guest's"
        " physical address space, in a range called the DAX window: a load reads the file, a store writes"
        " it.",
        _place,
    ),
    Step(
        "map",
        "Map two files of a shared directory into the window",
        "A Linux guest asks for this with FUSE_SETUPMAPPING when it first touches a file. The VMM answers by"
        " mapping the file where the guest wants it. Once mapped, the VMM has no more part in the access.",
        _map,
    ),
    Step(
        "copy",
        "Let the guest copy one file into the other",
        "Nobody calls read() or write() on the files, and no message is sent.",
        _copy,
    ),
    Step(
        "refuse",
        "Let the guest store to the read-only file",
        "The mapping is read-only, so a store must not reach the file. The guest's CPU stops there,"
        " and its VMM is told.",
        _refuse,
    ),
    Step(
        "upgrade",
        "Make that mapping writable, in place",
        "A Linux guest maps for reading first. On its first write it asks for the same range again, writable,"
        " and removes nothing in between: other CPUs may be reading there, and must never find it gone.",
        _upgrade,
    ),
    Step(
        "remove",
        "Remove the mappings",
        "The guest gives ranges back with FUSE_REMOVEMAPPING, to use them for other files. What is left is a"
        " hole, and no other memory of the VMM can ever show up there.",
        _remove,
    ),
    Step(
        "balance",
        "Balance the books",
        "Every mapping that was ever set up is accounted for. An upgrade is not a new mapping.",
        _balance,
    ),
)
