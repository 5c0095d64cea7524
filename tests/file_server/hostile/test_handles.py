"""Open files: a handle does what it was opened for, with the inode that it is of, and nothing else."""

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from daxmap import DaxMapper, FileServer
from support.fuse_client import ROOT, Client, Op, errno_of
from support.guest_requests import READ, READ_WRITE, SLOT
from support.windows import host_window

Serve = Callable[..., Client]

HARMLESS = {
    "O_TMPFILE": os.O_TMPFILE,
    "O_PATH": os.O_PATH,
    "O_CREAT": os.O_CREAT,
    "O_EXCL": os.O_EXCL,
    "O_DIRECT": os.O_DIRECT,
    "O_ASYNC": os.O_ASYNC,
    "O_NOFOLLOW": os.O_NOFOLLOW,
    "O_DIRECTORY": os.O_DIRECTORY,
    "O_NOATIME": os.O_NOATIME,
    "O_NONBLOCK": os.O_NONBLOCK,
    "O_APPEND": os.O_APPEND,
    "O_CLOEXEC": os.O_CLOEXEC,
}


def flags_of(descriptors: set[int]) -> int:
    """Flags of the one descriptor that is new and not a mere path, close-on-exec among them."""
    for number in open_now() - descriptors:
        try:
            lines = Path(f"/proc/self/fdinfo/{number}").read_text().splitlines()
        except FileNotFoundError:
            continue  # another thread's
        flags = int(next(line.split()[1] for line in lines if line.startswith("flags:")), 8)
        if not flags & os.O_PATH:
            return flags
    raise AssertionError("nothing was opened")


def open_now() -> set[int]:
    directory = os.open("/proc/self/fd", os.O_RDONLY)
    try:
        return {int(name) for name in os.listdir(directory)} - {directory}  # noqa: PTH208
    finally:
        os.close(directory)


@pytest.mark.parametrize("name", HARMLESS)
@pytest.mark.parametrize("access", [os.O_RDONLY, os.O_WRONLY, os.O_RDWR])
def test_only_the_access_and_few_flags_reach_the_host(guest: Client, share: Path, name: str, access: int) -> None:
    node = guest.walk(b"file")
    entries = set(os.listdir(share))  # noqa: PTH208
    before = open_now()
    fh = guest.open(node, access | HARMLESS[name])
    allowed = os.O_NONBLOCK | os.O_CLOEXEC | 0o100000  # O_LARGEFILE
    assert flags_of(before) & ~allowed == access
    assert flags_of(before) & os.O_CLOEXEC
    guest.release(node, fh)
    made, fh = guest.create(b"new", flags=access | HARMLESS[name])
    assert set(os.listdir(share)) == entries | {"new"}  # noqa: PTH208
    guest.release(made.nodeid, fh)


@pytest.mark.parametrize("flags", [3, 3 | os.O_CREAT, 2**32 - 1])
def test_access_that_there_is_not_is_refused(guest: Client, share: Path, flags: int) -> None:
    assert errno_of(guest.open, guest.walk(b"file"), flags) == "EINVAL"
    assert errno_of(guest.create, b"new", 0o600, flags) == "EINVAL"
    assert not (share / "new").exists()


def test_file_may_be_made_and_emptied_to_be_read(guest: Client, share: Path) -> None:
    for name in (b"new", b"file"):
        entry, fh = guest.create(name, flags=os.O_RDONLY | os.O_TRUNC)
        assert guest.read(entry.nodeid, fh, 100) == b""
        assert errno_of(guest.write, entry.nodeid, fh, b"data") == "EBADF"
        guest.setattr(entry.nodeid, fh=fh, size=7)
        assert (share / os.fsdecode(name)).stat().st_size == 7


def test_handles_do_what_they_were_opened_for(guest: Client, share: Path) -> None:
    node = guest.walk(b"file")
    reads, writes, lists = guest.open(node), guest.open(node, os.O_WRONLY), guest.opendir()
    assert errno_of(guest.write, node, reads, b"data") == "EBADF"
    assert errno_of(guest.write, node, reads, b"data", 0, os.O_APPEND) == "EBADF"
    assert errno_of(guest.fallocate, node, reads, 0, 10_000) == "EBADF"
    assert errno_of(guest.read, node, writes, 10) == "EBADF"
    assert errno_of(guest.read, ROOT, lists, 10) == "EISDIR"
    assert errno_of(guest.write, ROOT, lists, b"data") == "EBADF"
    assert errno_of(guest.fallocate, ROOT, lists, 0, 10) == "EBADF"
    for plus in (False, True):
        assert errno_of(guest.readdir, node, reads, plus=plus) == "ENOTDIR"
    for opcode in (Op.FSYNC, Op.FSYNCDIR):
        guest.ask(opcode, node, struct.pack("<QII", reads, 0, 0))
        guest.ask(opcode, ROOT, struct.pack("<QII", lists, 1, 0))
    assert (share / "file").read_bytes() == b"hello" * 1000


def test_handles_are_of_their_inode_alone(guest: Client, share: Path) -> None:
    node, other = guest.walk(b"file"), guest.walk(b"dir", b"file")
    fh, lists = guest.open(node, os.O_RDWR), guest.opendir()
    for wrong_node, wrong in [(other, fh), (node, lists), (ROOT, fh), (node, fh + 100), (node, 0), (node, 2**64 - 1)]:
        for call, *arguments in [
            (guest.read, wrong_node, wrong, 10),
            (guest.write, wrong_node, wrong, b"data"),
            (guest.fallocate, wrong_node, wrong, 0, 10_000),
            (guest.lseek, wrong_node, wrong, 0, os.SEEK_DATA),
            (guest.getattr, wrong_node, wrong),
            (guest.readdir, wrong_node, wrong),
            (guest.release, wrong_node, wrong),
            (guest.release, wrong_node, wrong, Op.RELEASEDIR),
            (guest.ask, Op.FSYNC, wrong_node, struct.pack("<QII", wrong, 0, 0)),
            (guest.ask, Op.FLUSH, wrong_node, struct.pack("<QIIQ", wrong, 0, 0, 0)),
        ]:
            assert errno_of(call, *arguments) == "EBADF", call
        assert errno_of(lambda n=wrong_node, h=wrong: guest.setattr(n, fh=h, size=0)) == "EBADF"
    assert (share / "file").stat().st_size == 5000
    guest.release(node, fh)
    assert errno_of(guest.release, node, fh) == "EBADF"


def test_handles_of_one_server_are_nothing_to_another(serve: Serve) -> None:
    first, second = serve(), serve()
    node = first.walk(b"file")
    fh = first.open(node)
    assert second.walk(b"file") == node
    assert errno_of(second.read, node, fh, 10) == "EBADF"


@pytest.mark.parametrize("restart", [Op.INIT, Op.DESTROY])
def test_nothing_lives_on_after_the_guest_left(guest: Client, restart: Op) -> None:
    node = guest.walk(b"file")
    fh = guest.open(node)
    guest.init() if restart is Op.INIT else guest.ask(restart)
    assert errno_of(guest.read, node, fh, 10) == "EBADF"
    assert errno_of(guest.getattr, node) == "EBADF"
    again = guest.walk(b"file")
    assert again > node
    assert guest.open(again) > fh


@pytest.mark.parametrize("whence", [os.SEEK_SET, os.SEEK_CUR, os.SEEK_END, 5, 2**32 - 1])
def test_only_data_and_holes_are_sought(guest: Client, whence: int) -> None:
    node = guest.walk(b"file")
    fh = guest.open(node)
    assert errno_of(guest.lseek, node, fh, 0, whence) == "EINVAL"
    assert guest.lseek(node, fh, 100, os.SEEK_DATA) == 100
    assert guest.lseek(node, fh, 100, os.SEEK_HOLE) == 5000


def set_up(nodeid: int, fh: int, flags: int) -> tuple[Op, int, bytes]:
    return Op.SETUPMAPPING, nodeid, struct.pack("<5Q", fh, 0, SLOT, flags, 0)


def mapped(mapper: DaxMapper) -> list[tuple[int, bool]]:
    return [(live.ino, live.writable) for live in mapper]


def test_only_regular_files_are_mapped_and_only_as_opened(share: Path) -> None:
    no_handle = 2**64 - 1
    with host_window(0, 4 * SLOT) as mapper:
        guest = Client(FileServer(share, mapper=mapper))
        guest.init()
        file, other = guest.walk(b"file"), guest.walk(b"dir", b"file")
        reads, lists = guest.open(file), guest.opendir()
        for node in (ROOT, guest.walk(b"dir"), guest.walk(b"link"), guest.walk(b"fifo"), guest.walk(b"socket")):
            for flags in (READ, READ_WRITE):
                assert errno_of(guest.ask, *set_up(node, no_handle, flags)) == "ENODEV"
        assert errno_of(guest.ask, *set_up(ROOT, lists, READ)) == "ENODEV"
        assert errno_of(guest.ask, *set_up(file, reads, READ_WRITE)) == "EACCES"
        for node, fh in [(other, reads), (file, lists), (file, 12_345), (12_345, no_handle), (12_345, reads)]:
            assert errno_of(guest.ask, *set_up(node, fh, READ)) == "EBADF"
        assert mapped(mapper) == []
        guest.ask(*set_up(file, reads, READ))
        guest.ask(*set_up(other, no_handle, READ_WRITE))
        assert mapped(mapper) == [((share / "dir" / "file").stat().st_ino, True)]
        guest.forget(other)
        assert errno_of(guest.ask, *set_up(other, no_handle, READ)) == "EBADF"
        guest.init()
        assert mapped(mapper) == []
