"""Every call of the framework refused in turn: the books agree after each step, and nothing leaks."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from errno import EEXIST, EIO, ENOENT
from pathlib import Path

import pytest

from hvf.standin import Code, Operation, Standin
from hvf.window import Window
from support.files import HostFile
from support.host import PAGE

MAP, UNMAP, PROTECT = Operation.MAP, Operation.UNMAP, Operation.PROTECT


class Scene:
    """A window and the files that the script uses."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.mapper = window.mapper
        self.file = window.file(pages=8)
        self.private = window.file(pages=8, flags=os.O_RDONLY)

    def set_up(self, offset: int, file: HostFile | None = None, *, writable: bool = False) -> int:
        self.window.map(file or self.file, offset * PAGE, 2 * PAGE, file_offset=PAGE, writable=writable)
        return 0

    def upgrade_private(self, offset: int) -> int:
        with self.private.opened(os.O_RDWR) as file:
            return self.set_up(offset, file, writable=True)

    def remove(self, offset: int) -> int:
        self.mapper.remove_mapping(offset * PAGE, 2 * PAGE)
        return 0

    def remove_batch(self, *offsets: int) -> int:
        return self.mapper.remove_mappings([(offset * PAGE, 2 * PAGE) for offset in offsets]).errno


@dataclass(frozen=True)
class Step:
    """What is done, returning an errno, and what it calls when nothing fails."""

    name: str
    do: Callable[[Scene], int | None]
    calls: tuple[Operation, ...]


SCRIPT = [
    Step("set up shared", lambda scene: scene.set_up(0), (MAP,)),
    Step("set up private", lambda scene: scene.set_up(4, scene.private), (MAP,)),
    Step("set up writable", lambda scene: scene.set_up(8, writable=True), (MAP,)),
    Step("upgrade shared", lambda scene: scene.set_up(0, writable=True), (PROTECT,)),
    Step("upgrade private", lambda scene: scene.upgrade_private(4), (UNMAP, MAP)),
    Step("remove", lambda scene: scene.remove(0), (UNMAP,)),
    Step("set up again", lambda scene: scene.set_up(0, scene.private), (MAP,)),
    Step("set up a neighbour", lambda scene: scene.set_up(2, scene.private), (MAP,)),
    Step("remove a batch", lambda scene: scene.remove_batch(8, 0, 2), (UNMAP, UNMAP, UNMAP)),
    Step("set up two", lambda scene: scene.set_up(12) or scene.set_up(14), (MAP, MAP)),
    Step("reset", lambda scene: scene.mapper.reset(), (UNMAP, UNMAP, UNMAP)),
    Step("set up after reset", lambda scene: scene.set_up(16) or scene.set_up(20, scene.private), (MAP, MAP)),
    Step("drain", lambda scene: scene.mapper.drain_all(), (UNMAP, UNMAP)),
]
CALLS = [call for step in SCRIPT for call in step.calls]

# Steps that go on over a refusal: they answer with what is left.
SWEEPS = {"reset", "drain"}


def perform(step: Step, scene: Scene) -> int:
    try:
        return step.do(scene) or 0
    except OSError as error:
        return error.errno or -1


def refusals(standin: Standin) -> int:
    return sum(call.code == Code.NO_RESOURCES for call in standin.calls())


def test_script_without_failures_makes_the_calls_it_says(standin: Standin, tmp_path: Path) -> None:
    with Window(standin, tmp_path) as window:
        scene = Scene(window)
        for step in SCRIPT:
            before = len(standin.calls())
            assert (step.name, perform(step, scene)) == (step.name, 0)
            assert tuple(standin.operations()[before:]) == step.calls
            window.agree()
    assert (standin.ranges(), window.areas()) == ([], [])


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("nth", range(1, len(CALLS) + 1))
def test_refused_call_leaves_the_books_agreed(standin: Standin, tmp_path: Path, nth: int, count: int) -> None:
    with Window(standin, tmp_path) as window:
        scene = Scene(window)
        standin.fail(nth, Code.NO_RESOURCES, count=count)
        for step in SCRIPT:
            before, kept = refusals(standin), len(window.ranges())
            errno = perform(step, scene)
            refused = refusals(standin) - before
            if step.name in SWEEPS:
                assert (errno, len(window.ranges())) == (0, refused), f"{step.name}, {kept} before"
            elif refused:
                assert errno == EIO, step.name
            else:
                # What an earlier refusal left in place, or did not put there.
                assert errno in {0, EEXIST, ENOENT}, step.name
            window.agree()
        assert refusals(standin) > 0, "nothing was refused"
        drained = standin.calls()
        stats = window.mapper.stats()
        assert stats.leaked_count == len(window.ranges())
        assert standin.destroy() == Code.SUCCESS
    assert standin.calls()[:-1] == drained
    assert standin.calls_without_vm == 0


def test_upgrade_whose_way_back_fails_too_loses_the_range(window: Window) -> None:
    scene = Scene(window)
    scene.set_up(4, scene.private)
    window.standin.fail(2, Code.NO_RESOURCES, count=2)
    with pytest.raises(OSError, match=r"lost.*HV_NO_RESOURCES") as caught:
        scene.upgrade_private(4)
    assert caught.value.errno == EIO
    assert window.standin.operations()[2:] == [UNMAP, MAP, MAP]
    assert (window.mapper.stats().lost_count, window.areas()) == (1, [])
    window.agree()
    scene.set_up(4)
    window.agree()


def test_upgrade_that_is_refused_puts_the_old_memory_back(window: Window) -> None:
    scene = Scene(window)
    scene.set_up(4, scene.private)
    before = window.ranges(), window.areas()
    window.standin.fail(2, Code.NO_RESOURCES)
    with pytest.raises(OSError, match="HV_NO_RESOURCES") as caught:
        scene.upgrade_private(4)
    assert caught.value.errno == EIO
    assert window.standin.operations()[2:] == [UNMAP, MAP, MAP]
    assert (window.ranges(), window.areas()) == before
    assert scene.upgrade_private(4) == 0
    window.agree()


def test_range_that_stays_with_the_guest_at_drain_keeps_its_memory(window: Window) -> None:
    scene = Scene(window)
    scene.set_up(0, writable=True)
    scene.set_up(4)
    window.standin.fail(1, Code.BUSY)
    window.mapper.drain_all()
    [kept] = window.ranges()
    assert kept.ipa == window.base
    assert window.standin.store(kept.ipa, b"still its own file")
    assert scene.file.path.read_bytes()[PAGE : PAGE + 18] == b"still its own file"
    stats = window.mapper.stats()
    assert (stats.leaked_count, stats.swept_count) == (1, 1)
    window.agree()
