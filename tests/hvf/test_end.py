"""How a mapper and its VM end: in which order, and what is called when the VM is gone."""

import gc
import logging
import threading
from errno import ENODEV
from pathlib import Path

import pytest

from hvf.standin import Code, Operation, Standin
from hvf.window import BASE, Window
from support.forks import in_fork
from support.host import PAGE

CREATE, DESTROY, MAP, UNMAP = Operation.CREATE, Operation.DESTROY, Operation.MAP, Operation.UNMAP


def fill(window: Window, mappings: int = 3) -> None:
    file = window.file()
    for page in range(mappings):
        window.map(file, 2 * page * PAGE, writable=page % 2 == 1)
    window.agree()


def test_drain_takes_all_from_the_guest_and_then_from_the_host(window: Window) -> None:
    fill(window)
    window.mapper.drain_all()
    assert window.standin.operations() == [CREATE, MAP, MAP, MAP, UNMAP, UNMAP, UNMAP]
    assert window.areas() == []
    window.agree()


def test_second_drain_calls_nothing(window: Window) -> None:
    fill(window)
    window.mapper.drain_all()
    calls = window.standin.calls()
    window.mapper.drain_all()
    window.mapper.close()
    assert window.standin.calls() == calls


def test_nothing_calls_the_framework_after_drain(window: Window) -> None:
    fill(window)
    file, mapper = window.file(), window.mapper
    mapper.drain_all()
    calls = window.standin.calls()
    for refused in (
        lambda: window.map(file, 0),
        lambda: mapper.remove_mapping(0, PAGE),
        lambda: mapper.remove_mappings([(0, PAGE)]),
        mapper.reset,
        lambda: mapper.read(BASE, 1),
        lambda: mapper.write(BASE, b"x"),
    ):
        with pytest.raises(OSError, match="closed") as caught:
            refused()
        assert caught.value.errno == ENODEV
    assert (len(mapper), list(mapper), mapper.stats().swept_count) == (0, [], 3)
    assert window.standin.calls() == calls


def test_drain_then_destroy_then_leaving_the_context_manager(standin: Standin, tmp_path: Path) -> None:
    with Window(standin, tmp_path) as window, window.mapper as mapper:
        fill(window)
        mapper.drain_all()
        assert standin.destroy() == Code.SUCCESS
    del window, mapper
    gc.collect()
    assert standin.operations() == [CREATE, MAP, MAP, MAP, UNMAP, UNMAP, UNMAP, DESTROY]
    assert standin.calls_without_vm == 0


def test_leaving_the_context_manager_drains_while_the_vm_exists(standin: Standin, tmp_path: Path) -> None:
    with Window(standin, tmp_path) as window:
        with window.mapper:
            fill(window)
        assert standin.destroy() == Code.SUCCESS
    assert standin.operations() == [CREATE, MAP, MAP, MAP, UNMAP, UNMAP, UNMAP, DESTROY]
    assert standin.calls_without_vm == 0


def test_drop_without_drain_warns_and_takes_all_back(standin: Standin, tmp_path: Path) -> None:
    window = Window(standin, tmp_path)
    fill(window)
    areas = window.areas
    with pytest.warns(ResourceWarning, match="drain_all"):
        del window.mapper
    assert standin.operations() == [CREATE, MAP, MAP, MAP, UNMAP, UNMAP, UNMAP]
    assert all(call.backed for call in standin.calls()[1:])
    assert (standin.ranges(), areas()) == ([], [])


def test_destroy_without_drain_is_seen_and_costs_the_host_memory(
    standin: Standin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The VMM's mistake. The mapper can't know that there is no guest any more, so it keeps what it can't take back."""
    window = Window(standin, tmp_path)
    fill(window)
    held = window.areas()
    assert standin.destroy() == Code.SUCCESS
    with caplog.at_level(logging.WARNING, "daxmap"):
        window.mapper.drain_all()
    assert standin.operations() == [CREATE, MAP, MAP, MAP, DESTROY, UNMAP, UNMAP, UNMAP]
    assert standin.calls_without_vm == 3
    assert "HV_NO_DEVICE" in caplog.text
    assert "drain before hv_vm_destroy" in caplog.text
    stats = window.mapper.stats()
    assert (stats.leaked_count, stats.swept_count, stats.live_mappings) == (3, 0, 0)
    assert window.areas() == held
    window.mapper.drain_all()
    window.close()
    del window
    gc.collect()
    assert standin.calls_without_vm == 3


def test_two_threads_drain_once_and_both_see_the_end(window: Window) -> None:
    fill(window, 20)
    left: list[int] = []
    start = threading.Barrier(2)

    def drain() -> None:
        start.wait()
        window.mapper.drain_all()
        left.append(len(window.ranges()))

    threads = [threading.Thread(target=drain) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert left == [0, 0], "one came back before the drain was over"
    assert window.standin.operations() == [CREATE] + [MAP] * 20 + [UNMAP] * 20
    assert window.standin.destroy() == Code.SUCCESS
    window.mapper.drain_all()
    assert window.standin.calls_without_vm == 0
    window.agree()


def test_no_setup_slips_in_behind_a_drain(window: Window) -> None:
    file = window.file()
    start = threading.Barrier(2)
    ended: list[int | None] = []

    def set_up() -> None:
        start.wait()
        try:
            while True:
                window.map(file, 0)
                window.mapper.remove_mapping(0, PAGE)
        except OSError as error:
            ended.append(error.errno)

    thread = threading.Thread(target=set_up)
    thread.start()
    start.wait()
    window.mapper.drain_all()
    calls = len(window.standin.calls())
    assert window.standin.destroy() == Code.SUCCESS
    thread.join()
    assert ended == [ENODEV]
    assert len(window.standin.calls()) == calls + 1
    assert window.standin.calls_without_vm == 0
    assert window.areas() == []


def test_forked_child_leaves_the_parents_vm_alone(window: Window) -> None:
    fill(window)
    calls = len(window.standin.calls())

    def end() -> None:
        """The child has a copy of the stand-in and its log."""
        window.mapper.__del__()
        del window.mapper
        gc.collect()
        assert len(window.standin.calls()) == calls

    in_fork(end)
    window.agree()
    assert len(window.standin.calls()) == calls
