"""What a guest can have the server keep: descriptors and memory have bounds, whatever it knows and opens."""

import os
import resource
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from daxmap import FileServer
from support.children import run_in_child
from support.fuse_client import ROOT, Client, errno_of
from support.limits import limited
from support.rig import Rig

Serve = Callable[..., Client]
MOST_OPEN = 64


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def known(guest: Client) -> int:
    return int(repr(guest.server).rsplit(", ", 1)[1].split()[0])


def fill(directory: Path, count: int) -> list[bytes]:
    names = [b"file%d" % number for number in range(count)]
    for name in names:
        os.close(os.open(os.fsencode(directory) + b"/" + name, os.O_CREAT | os.O_WRONLY))
    return names


def test_thousands_of_known_inodes_take_no_descriptor_each(serve: Serve, share: Path) -> None:
    names = fill(share, 3000)
    guest = serve(max_open=MOST_OPEN)
    before = descriptors()
    nodes = {name: guest.lookup(name).nodeid for name in names}
    assert len(set(nodes.values())) == 3000
    for name, node in nodes.items():
        assert guest.getattr(node).ino == (share / os.fsdecode(name)).stat().st_ino
    assert descriptors() <= before + MOST_OPEN


def test_files_are_open_up_to_a_bound_and_the_others_go_on(serve: Serve, share: Path) -> None:
    guest = serve(max_open=MOST_OPEN)
    before = descriptors()
    node = guest.walk(b"file")
    handles = []
    while not (error := errno_of(lambda: handles.append(guest.open(node)))):
        assert len(handles) <= MOST_OPEN
    assert error == "ENFILE"
    assert errno_of(guest.opendir) == errno_of(guest.create, b"new") == "ENFILE"
    assert not (share / "new").exists(), "what can't be opened is not made"
    assert guest.lookup(b"dir").nodeid
    guest.setattr(node, size=10)
    assert descriptors() <= before + MOST_OPEN
    for fh in handles:
        guest.release(node, fh)
    assert descriptors() <= before + MOST_OPEN // 2
    assert guest.read(node, guest.open(node), 100) == b"hello" * 2


def test_everything_at_once_stays_within_the_bound(serve: Serve, share: Path) -> None:
    names = fill(share, 500)
    guest = serve(max_open=MOST_OPEN)
    before = descriptors()
    nodes = [guest.lookup(name).nodeid for name in names]
    errors = Counter(errno_of(guest.open, node) for node in nodes)
    assert set(errors) == {"", "ENFILE"}
    for name in names:
        guest.unlink(name)
    assert descriptors() <= before + MOST_OPEN
    guest.init()
    assert descriptors() <= before
    assert known(guest) == 0


def test_removed_file_that_the_guest_has_open_is_there_until_it_is_forgotten(serve: Serve) -> None:
    guest = serve(max_open=MOST_OPEN)
    entry, fh = guest.create(b"file2")
    guest.write(entry.nodeid, fh, b"still there")
    guest.unlink(b"file2")
    for number in range(100):
        made, other = guest.create(b"other%d" % number)
        guest.release(made.nodeid, other)
    assert guest.getattr(entry.nodeid).nlink == 0
    guest.setattr(entry.nodeid, size=5)
    guest.release(entry.nodeid, fh)
    assert guest.read(entry.nodeid, guest.open(entry.nodeid), 100) == b"still"
    guest.forget(entry.nodeid)
    assert errno_of(guest.getattr, entry.nodeid) == "EBADF"


def test_removals_that_fail_take_no_room_from_those_that_don_t(serve: Serve, share: Path) -> None:
    guest = serve(max_open=MOST_OPEN)
    for number in range(50):
        directory = share / f"full{number}"
        directory.mkdir()
        (directory / "in").touch()
        node = guest.walk(os.fsencode(directory.name))
        assert errno_of(guest.rmdir, os.fsencode(directory.name)) == "ENOTEMPTY"
        assert errno_of(guest.unlink, os.fsencode(directory.name)) == "EISDIR"
        assert errno_of(guest.rename, b"file", os.fsencode(directory.name)) == "EISDIR"
        assert guest.lookup(b"in", node).nodeid
    kept = guest.walk(b"file")
    guest.unlink(b"file")
    for name in fill(share, 50):
        guest.lookup(name)
    assert guest.getattr(kept).size == 5000


def test_guest_that_never_forgets_what_is_gone_takes_no_memory(serve: Serve) -> None:
    guest = serve(max_open=MOST_OPEN)
    (target, fh) = guest.create(b"target")
    guest.release(target.nodeid, fh)
    before = known(guest)
    for number in range(500):
        name = b"new%d" % number
        entry, fh = guest.create(name)
        guest.release(entry.nodeid, fh)
        guest.unlink(name)
        guest.mkdir(name)
        guest.rmdir(name)
        entry, fh = guest.create(name)
        guest.release(entry.nodeid, fh)
        guest.rename(name, b"target")
    assert known(guest) <= before + MOST_OPEN
    last = guest.lookup(b"target").nodeid
    assert guest.getattr(last).nlink == 1


def test_file_with_another_link_is_known_when_one_is_gone(serve: Serve, share: Path) -> None:
    guest = serve(max_open=MOST_OPEN)
    names = fill(share, 100)
    for name in names:
        node = guest.lookup(name).nodeid
        guest.link(node, b"link" + name)
        guest.lookup(name)
        guest.unlink(name)
        assert guest.lookup(b"link" + name).nodeid == node
        assert guest.getattr(node).nlink == 1


def test_guest_that_looks_up_and_forgets_for_ever_takes_nothing(serve: Serve, share: Path) -> None:
    names = fill(share, 200)
    guest = serve(max_open=MOST_OPEN)
    before = descriptors()
    for _ in range(5):
        for name in names:
            guest.forget(guest.lookup(name).nodeid)
    assert known(guest) == 0
    assert descriptors() <= before


def test_hundred_thousand_inodes_are_known_where_1024_descriptors_are_all_there_is(tmp_path: Path) -> None:
    run_in_child(hundred_thousand, "host-window", tmp_path)


def hundred_thousand(rig: Rig) -> None:
    directory = rig.file().path.parent / "many"
    directory.mkdir()
    names = fill(directory, 100_000)
    with limited(resource.RLIMIT_NOFILE, 1024):
        guest = Client(FileServer(directory))
        nodes = [guest.lookup(name).nodeid for name in names]
        assert known(guest) == 100_000
        for name, node in list(zip(names, nodes, strict=True))[::97]:
            fh = guest.open(node)
            assert guest.getattr(node, fh).ino == (directory / os.fsdecode(name)).stat().st_ino
            guest.release(node, fh)
        assert descriptors() <= 600
        assert guest.getattr(ROOT).nlink
