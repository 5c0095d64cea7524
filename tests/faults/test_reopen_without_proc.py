"""reopen where /proc goes away, was never there, or is the parent's."""

import os
from errno import ENOENT
from pathlib import Path

import pytest

from daxmap import DaxDispatcher, reopen
from support.children import Body, Scenarios, name_of, run_in_child
from support.forks import in_fork
from support.rig import Rig
from support.sandbox import needs_root, without_proc

scenario = Scenarios()


def held(rig: Rig) -> tuple[int, bytes]:
    """A path descriptor of a new file, and what is in the file."""
    file = rig.file(1)
    return os.open(file.path, os.O_PATH), file.read(0, 8)


def read(fd: int) -> bytes:
    with reopen(fd, writable=True) as file:
        assert not os.get_inheritable(file.fileno())
        return file.read(8)


def check_unmounted(fd: int) -> None:
    for _ in range(2):
        with pytest.raises(OSError, match="/proc/self/fd: No such file or directory: is /proc not mounted") as caught:
            reopen(fd, writable=False)
        assert caught.value.errno == ENOENT


@scenario
def proc_goes_away_after_the_first_call(rig: Rig) -> None:
    (first, content), (second, other) = held(rig), held(rig)
    assert read(first) == content
    with without_proc():
        assert (read(first), read(second)) == (content, other)
        third = os.open("made here", os.O_RDWR | os.O_CREAT)
        assert read(third) == b""


@scenario
def proc_goes_away_after_a_dispatcher_was_made(rig: Rig) -> None:
    fd, content = held(rig)
    DaxDispatcher(None, lambda _nodeid, _fh, _writable: fd)
    with without_proc():
        assert read(fd) == content


@scenario
def proc_was_never_there(rig: Rig) -> None:
    fd, content = held(rig)
    with without_proc():
        check_unmounted(fd)
        DaxDispatcher(None, lambda _nodeid, _fh, _writable: fd)
        check_unmounted(fd)
    assert read(fd) == content


@scenario
def child_opens_its_own_descriptors(rig: Rig) -> None:
    (first, _), (second, other) = held(rig), held(rig)
    read(first)

    def body() -> None:
        os.dup2(second, first)  # another file of that number than the parent's
        assert read(first) == other

    in_fork(body)


@scenario
def child_without_proc_never_opens_its_parents(rig: Rig) -> None:
    (first, _), (second, _) = held(rig), held(rig)
    read(first)

    def body() -> None:
        with without_proc():
            os.dup2(second, first)
            check_unmounted(first)

    in_fork(body)


@needs_root
@pytest.mark.parametrize("body", scenario, ids=name_of)
def test_reopen(tmp_path: Path, body: Body) -> None:
    run_in_child(body, "host-window", tmp_path)
