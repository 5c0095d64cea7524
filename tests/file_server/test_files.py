"""Files as a guest makes, changes, moves and removes them, and what the host has then."""

import os
import stat
import struct
from pathlib import Path

from daxmap import FileServer
from support.fuse_client import FATTR, Client, Op, errno_of

NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4


def test_file_is_made_written_read_and_cut(directory: Path, guest: Client) -> None:
    entry, fh = guest.create(b"file", mode=0o666)
    assert guest.write(entry.nodeid, fh, b"content", 5) == 7
    assert guest.read(entry.nodeid, fh, 100) == bytes(5) + b"content" == (directory / "file").read_bytes()
    assert guest.read(entry.nodeid, fh, 100, 100) == b""
    assert guest.setattr(entry.nodeid, fh=fh, size=6).size == 6
    assert guest.setattr(entry.nodeid, size=7).size == 7
    assert (directory / "file").read_bytes() == bytes(5) + b"c\0"
    guest.fallocate(entry.nodeid, fh, 0, 8192)
    assert guest.getattr(entry.nodeid, fh).size == 8192
    guest.ask(Op.FSYNC, entry.nodeid, struct.pack("<QII", fh, 0, 0))
    guest.ask(Op.FLUSH, entry.nodeid, struct.pack("<QIIQ", fh, 0, 0, 0))
    with (directory / "file").open("rb") as file:
        hole = os.lseek(file.fileno(), 0, os.SEEK_HOLE)
    assert guest.lseek(entry.nodeid, fh, 0, os.SEEK_HOLE) == hole
    guest.release(entry.nodeid, fh)
    assert errno_of(guest.read, entry.nodeid, fh, 1) == "EBADF"


def test_appending_writes_go_to_the_host_s_end(directory: Path, guest: Client) -> None:
    entry, fh = guest.create(b"file", flags=os.O_WRONLY | os.O_APPEND)
    (directory / "file").write_bytes(b"by the host ")
    assert guest.write(entry.nodeid, fh, b"by the guest", flags=os.O_WRONLY | os.O_APPEND) == 12
    assert guest.write(entry.nodeid, fh, b"B", flags=os.O_WRONLY) == 1
    assert (directory / "file").read_bytes() == b"By the host by the guest"


def test_file_that_is_there_is_opened_by_create_unless_it_is_exclusive(directory: Path, guest: Client) -> None:
    (directory / "file").write_bytes(b"content")
    entry, fh = guest.create(b"file", flags=os.O_RDONLY)
    assert guest.read(entry.nodeid, fh, 7) == b"content"
    assert errno_of(guest.create, b"file", flags=os.O_RDWR | os.O_EXCL) == "EEXIST"
    _, fh = guest.create(b"file", flags=os.O_RDWR | os.O_TRUNC)
    assert guest.read(entry.nodeid, fh, 7) == b""
    (directory / "directory").mkdir()
    os.mkfifo(directory / "fifo")
    (directory / "link").symlink_to("file")
    assert [errno_of(guest.create, name) for name in (b"directory", b"fifo", b"link")] == ["EISDIR", "ENXIO", "ENXIO"]


def test_entries_come_go_and_move(directory: Path, guest: Client) -> None:
    one, two = guest.mkdir(b"one").nodeid, guest.mkdir(b"two").nodeid
    file, _ = guest.create(b"file", parent=one)
    linked = guest.link(file.nodeid, b"linked", two)
    assert (linked.nodeid, linked.attr.nlink) == (file.nodeid, 2)
    assert guest.readlink(guest.symlink(b"link", b"/etc/passwd", two).nodeid) == b"/etc/passwd"
    guest.rename(b"file", b"moved", one, two)
    assert errno_of(guest.rename, b"linked", b"moved", two, two, NOREPLACE) == "EEXIST"
    guest.rename(b"one", b"link", to=two, flags=EXCHANGE)
    assert errno_of(guest.rename, b"link", b"x", two, flags=WHITEOUT) == "EINVAL"
    there = sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*"))
    assert there == ["one", "two", "two/link", "two/linked", "two/moved"]
    assert errno_of(guest.rmdir, b"two") == "ENOTEMPTY"
    assert errno_of(guest.unlink, b"nothing") == "ENOENT"
    guest.unlink(b"one")
    guest.rmdir(b"link", two)
    assert errno_of(guest.lookup, b"one") == "ENOENT"


def test_file_that_is_removed_goes_on_for_who_knows_it(guest: Client) -> None:
    entry, fh = guest.create(b"file")
    guest.write(entry.nodeid, fh, b"content")
    other, _ = guest.create(b"other")
    guest.unlink(b"file")
    guest.rename(b"other", b"third")
    guest.create(b"file")
    guest.rename(b"third", b"file")  # over the new one
    assert guest.getattr(entry.nodeid).nlink == 0
    assert guest.read(entry.nodeid, guest.open(entry.nodeid), 7) == b"content"
    assert guest.lookup(b"file").nodeid == other.nodeid
    assert guest.getattr(other.nodeid).nlink == 1


def test_times_and_modes_are_set(directory: Path, guest: Client) -> None:
    entry, _ = guest.create(b"file")
    times = struct.pack("<II6Q8I", FATTR["atime"] | FATTR["mtime"], 0, 0, 0, 0, 1, 2, 0, 3, 4, 0, 0, 0, 0, 0, 0)
    guest.ask(Op.SETATTR, entry.nodeid, times)
    found = (directory / "file").stat()
    assert (found.st_atime_ns, found.st_mtime_ns) == (1_000_000_003, 2_000_000_004)
    assert guest.setattr(entry.nodeid, mode=0o640).mode == stat.S_IFREG | 0o640
    link = guest.symlink(b"link", b"file")
    assert errno_of(guest.setattr, link.nodeid, mode=0o777) in {"EOPNOTSUPP", "ENOTSUP"}
    assert (directory / "file").stat().st_mode == stat.S_IFREG | 0o640, "the link is not followed"


def test_inodes_are_found_again_when_their_descriptors_are_closed(directory: Path) -> None:
    """At their places, where a guest's renames have put them too; and never in another file."""
    (directory / "deep" / "er").mkdir(parents=True)
    for number in range(200):
        (directory / "deep" / "er" / str(number)).write_bytes(b"%d" % number)
    guest = Client(FileServer(directory, max_open=64))
    guest.init()
    deeper = guest.walk(b"deep", b"er")
    nodes = [guest.lookup(b"%d" % number, deeper).nodeid for number in range(200)]
    guest.rename(b"deep", b"renamed")
    for number, nodeid in enumerate(nodes):
        fh = guest.open(nodeid)
        assert guest.read(nodeid, fh, 10) == b"%d" % number
        guest.release(nodeid, fh)
    place = directory / "renamed" / "er"
    (place / "0").rename(place / "by the host")
    (place / "1").unlink()
    (place / "1").write_bytes(b"another file")
    assert [errno_of(guest.open, nodeid) for nodeid in nodes[:2]] == ["ESTALE", "ESTALE"]
    assert guest.lookup(b"by the host", deeper).nodeid == nodes[0]
    assert guest.getattr(nodes[0]).size == 1
    assert guest.lookup(b"1", deeper).nodeid != nodes[1]
