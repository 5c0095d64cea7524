"""Many threads of a guest, and a host that changes the directory meanwhile."""

import os
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from support.fuse_client import ROOT, Client, Op, errno_of
from support.walk_tree import tree

Serve = Callable[..., Client]
THREADS = 8
LATE = {"", "ENOENT", "ESTALE", "EBADF", "EEXIST", "ENOTDIR", "EISDIR", "ENOTEMPTY", "ENXIO", "ENFILE", "EINVAL"}
"""What a guest hears when another thread was faster."""


@contextmanager
def meanwhile(work: Callable[[], None]) -> Iterator[None]:
    """Has another thread work all the time."""
    over = threading.Event()

    def loop() -> None:
        while not over.is_set():
            work()

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_handle_of_what_was_made_is_of_the_inode_that_is_told(guest: Client, share: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"

    def replace() -> None:
        other.write_text("another file")
        other.replace(share / "new")

    with meanwhile(replace):
        for _ in range(1500):
            errno_of(guest.unlink, b"new")
            try:
                entry, fh = guest.create(b"new", flags=os.O_RDWR | os.O_EXCL)
            except FileExistsError:
                continue
            assert guest.getattr(entry.nodeid, fh).ino == entry.attr.ino
            guest.release(entry.nodeid, fh)
            guest.forget(entry.nodeid)


def test_link_that_comes_and_goes_is_never_followed(guest: Client, share: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    secret = (outside / "secret").stat().st_ino
    before = tree(outside)
    (share / "real").mkdir()
    (share / "real" / "secret").touch()
    (share / "lead").symlink_to(outside)

    def swap() -> None:
        (share / "real").rename(share / "swapped")
        (share / "lead").rename(share / "real")
        (share / "real").rename(share / "lead")
        (share / "swapped").rename(share / "real")

    heard = set()
    with meanwhile(swap):
        for _ in range(1500):
            try:
                node = guest.lookup(b"real").nodeid
                found = guest.lookup(b"secret", node)
                assert found.attr.ino != secret
                guest.open(found.nodeid)
                guest.create(b"made", parent=node)
            except OSError as error:
                heard.add(error.errno)
    assert heard
    assert tree(outside) == before


def test_lookups_and_forgets_and_removals_at_once(serve: Serve) -> None:
    guest = serve(max_open=64)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    names = [b"n%d" % number for number in range(6)]

    def work(thread: int) -> Counter[str]:
        heard: Counter[str] = Counter()
        mine = Client(guest.server)

        def once(step: int) -> None:
            name, other = names[step % 6], names[(step * 7 + thread) % 6]
            entry, fh = mine.create(name)
            mine.write(entry.nodeid, fh, name)
            mine.rename(name, other)
            mine.getattr(entry.nodeid)
            mine.release(entry.nodeid, fh)
            mine.unlink(other)
            mine.forget(entry.nodeid)

        for step in range(400):
            heard[errno_of(once, step)] += 1
            if thread == 0 and step % 50 == 0:
                mine.init()
            if thread == 1 and step % 70 == 0:
                mine.ask(Op.DESTROY)
        return heard

    with ThreadPoolExecutor(THREADS) as pool:
        heard = sum(pool.map(work, range(THREADS)), Counter[str]())
    assert set(heard) <= LATE
    assert heard[""]
    guest.init()
    assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208
    assert "0 inodes known" in repr(guest.server)
    assert guest.lookup(b"file").attr.size == 5000


def test_reading_while_the_file_is_removed_and_closed_reads_that_file(serve: Serve) -> None:
    guest = serve(max_open=64)

    def work(thread: int) -> int:
        mine = Client(guest.server)
        right = 0
        name, data = b"mine%d" % thread, bytes([thread + 1]) * 3000
        for _ in range(200):
            entry, fh = mine.create(name)
            mine.write(entry.nodeid, fh, data)
            mine.unlink(name)
            assert mine.read(entry.nodeid, fh, 5000) == data
            mine.release(entry.nodeid, fh)
            assert errno_of(mine.read, entry.nodeid, fh, 10) == "EBADF"
            mine.forget(entry.nodeid)
            right += 1
        return right

    with ThreadPoolExecutor(THREADS) as pool:
        assert list(pool.map(work, range(THREADS))) == [200] * THREADS


def test_directory_is_read_by_many_threads_with_one_handle(serve: Serve, share: Path) -> None:
    for number in range(300):
        (share / f"entry{number}").touch()
    guest = serve()
    fh = guest.opendir()
    whole = {entry.name for entry in guest.readdir(ROOT, fh, 1 << 16)}

    def work(_thread: int) -> set[bytes]:
        mine, offset, found = Client(guest.server), 0, set()
        while part := mine.readdir(ROOT, fh, 1024, offset):
            offset = part[-1].offset
            found |= {entry.name for entry in part}
        return found

    with ThreadPoolExecutor(THREADS) as pool:
        assert all(found == whole for found in pool.map(work, range(THREADS)))


def test_umask_and_user_of_the_process_are_left_alone(serve: Serve, tmp_path: Path) -> None:
    servers = [serve(), *([serve(owner="guest")] if os.geteuid() == 0 else [])]
    umask = os.umask(0o077)
    try:
        beside = tmp_path / "beside"

        def check() -> None:
            beside.touch()
            status = beside.stat()
            assert (status.st_mode & 0o777, status.st_uid, status.st_gid) == (0o600, os.geteuid(), os.getegid())
            assert os.getresuid() == (os.geteuid(),) * 3
            beside.unlink()

        wrong: list[BaseException] = []

        def checked() -> None:
            try:
                check()
            except BaseException as error:  # noqa: BLE001
                wrong.append(error)

        with meanwhile(checked):
            for number in range(300):
                for index, guest in enumerate(servers):
                    body = struct.pack("<4I", os.O_RDWR, 0o100666, 0o011, 0) + b"f%d-%d\0" % (number, index)
                    user = Client(guest.server, 1000 * index, 1000 * index)
                    made = user.ask(Op.CREATE, ROOT, body) if index == 0 else guest.ask(Op.CREATE, ROOT, body)
                    assert struct.unpack_from("<I", made, 40 + 60)[0] == 0o100666 & ~0o011
                    node, fh = (int.from_bytes(made[at : at + 8], "little") for at in (0, 128))
                    guest.release(node, fh)
        assert wrong == []
    finally:
        os.umask(umask)


def test_server_that_is_gone_leaves_no_thread_and_no_descriptor(serve: Serve) -> None:
    def counted() -> tuple[int, int]:
        return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    del serve().server
    before = counted()
    for _ in range(20):
        guest = serve()
        guest.open(guest.walk(b"file"))
        guest.create(b"new")
        guest.unlink(b"new")
        del guest
    # A thread ends a moment after it is told to: those of tests before this, too.
    while any(now > was for now, was in zip(counted(), before, strict=True)):
        os.sched_yield()
