"""What a guest sees of a directory is what the host sees, and what it changes is changed."""

import os
import stat
import struct
from errno import EEXIST, EINVAL, EISDIR, ENOENT, ENOTEMPTY, ENXIO, EOPNOTSUPP, EPERM, ERANGE, ESTALE
from pathlib import Path

import pytest

from daxmap import FileServer
from support.fuse_guest import (
    FALLOCATE,
    FATTR_ATIME,
    FATTR_FH,
    FATTR_GID,
    FATTR_MODE,
    FATTR_MTIME,
    FATTR_SIZE,
    FATTR_UID,
    FLUSH,
    FSYNC,
    GETXATTR,
    LISTXATTR,
    LSEEK,
    READLINK,
    REMOVEXATTR,
    ROOT,
    SETATTR,
    SETXATTR,
    STATFS,
    Attr,
    FuseGuest,
    error_of,
)

NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4


def expected(path: Path) -> Attr:
    """What FUSE is to say of a file of the host."""
    found = path.lstat()
    (atime, atimensec), (mtime, mtimensec), (ctime, ctimensec) = (
        (ns // 1_000_000_000 % 2**64, ns % 1_000_000_000)
        for ns in (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns)
    )
    return Attr(
        found.st_ino,
        found.st_size,
        found.st_blocks,
        atime,
        mtime,
        ctime,
        atimensec,
        mtimensec,
        ctimensec,
        found.st_mode,
        found.st_nlink,
        found.st_uid,
        found.st_gid,
        found.st_rdev,
        found.st_blksize,
        0,
    )


@pytest.fixture
def server(directory: Path) -> FileServer:
    """Without DAX, which marks attributes."""
    return FileServer(directory)


def test_attributes_are_the_host_s(directory: Path, guest: FuseGuest) -> None:
    (directory / "file").write_bytes(b"content" * 1000)
    (directory / "directory").mkdir()
    (directory / "link").symlink_to("file")
    os.mkfifo(directory / "fifo")
    os.utime(directory / "file", ns=(1, -1_500_000_001))
    for name in ("file", "directory", "link", "fifo"):
        entry = guest.lookup(name)
        assert entry.attr == guest.getattr(entry.nodeid) == expected(directory / name)
    assert guest.getattr(ROOT) == expected(directory)


def test_file_is_made_written_read_and_cut(directory: Path, guest: FuseGuest) -> None:
    entry, fh = guest.create("file", mode=0o666)
    assert guest.write(entry.nodeid, fh, 5, b"content") == 7
    assert guest.read(entry.nodeid, fh, 0, 100) == bytes(5) + b"content" == (directory / "file").read_bytes()
    assert guest.read(entry.nodeid, fh, 100, 100) == b""
    assert guest.setattr(entry.nodeid, FATTR_SIZE | FATTR_FH, fh=fh, size=6).size == 6
    assert guest.setattr(entry.nodeid, FATTR_SIZE, size=7).size == 7
    assert (directory / "file").read_bytes() == bytes(5) + b"c\0"
    guest.ask(FALLOCATE, entry.nodeid, struct.pack("<QQQII", fh, 0, 8192, 0, 0))
    assert guest.getattr(entry.nodeid, fh).size == 8192
    guest.ask(FSYNC, entry.nodeid, struct.pack("<QII", fh, 0, 0))
    guest.ask(FLUSH, entry.nodeid, struct.pack("<QIIQ", fh, 0, 0, 0))
    (hole,) = struct.unpack("<Q", guest.ask(LSEEK, entry.nodeid, struct.pack("<QQII", fh, 0, os.SEEK_HOLE, 0)))
    with (directory / "file").open("rb") as file:
        assert hole == os.lseek(file.fileno(), 0, os.SEEK_HOLE)
    guest.release(entry.nodeid, fh)
    assert error_of(guest.read, entry.nodeid, fh, 0, 1) == 9


def test_appending_writes_go_to_the_host_s_end(directory: Path, guest: FuseGuest) -> None:
    entry, fh = guest.create("file", flags=os.O_WRONLY | os.O_APPEND)
    (directory / "file").write_bytes(b"by the host ")
    assert guest.write(entry.nodeid, fh, 0, b"by the guest", os.O_WRONLY | os.O_APPEND) == 12
    assert guest.write(entry.nodeid, fh, 0, b"B", os.O_WRONLY) == 1
    assert (directory / "file").read_bytes() == b"By the host by the guest"


def test_modes_are_the_guest_s_whatever_the_umask(directory: Path, guest: FuseGuest) -> None:
    umask = os.umask(0o077)
    try:
        guest.create("file", mode=0o666)
        guest.mkdir("directory", mode=0o777)
        guest.mknod("fifo", stat.S_IFIFO | 0o622)
        assert os.umask(0o077) == 0o077, "the process's is left alone"
    finally:
        os.umask(umask)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert modes == {"file": 0o666, "directory": 0o777, "fifo": 0o622}


def test_file_that_is_there_is_opened_by_create_unless_it_is_exclusive(directory: Path, guest: FuseGuest) -> None:
    (directory / "file").write_bytes(b"content")
    entry, fh = guest.create("file", flags=os.O_RDONLY)
    assert guest.read(entry.nodeid, fh, 0, 7) == b"content"
    assert error_of(guest.create, "file", flags=os.O_RDWR | os.O_EXCL) == EEXIST
    _, fh = guest.create("file", flags=os.O_RDWR | os.O_TRUNC)
    assert guest.read(entry.nodeid, fh, 0, 7) == b""
    (directory / "directory").mkdir()
    os.mkfifo(directory / "fifo")
    (directory / "link").symlink_to("file")
    assert [error_of(guest.create, name) for name in ("directory", "fifo", "link")] == [EISDIR, ENXIO, ENXIO]


def test_entries_come_go_and_move(directory: Path, guest: FuseGuest) -> None:
    one, two = guest.mkdir("one"), guest.mkdir("two")
    file, _ = guest.create("file", one.nodeid)
    linked = guest.link(file.nodeid, "linked", two.nodeid)
    assert (linked.nodeid, linked.attr.nlink) == (file.nodeid, 2)
    target = guest.symlink("/etc/passwd", "link", two.nodeid)
    assert guest.ask(READLINK, target.nodeid) == b"/etc/passwd"
    guest.rename("file", "moved", parent=one.nodeid, to=two.nodeid)
    assert error_of(guest.rename, "linked", "moved", parent=two.nodeid, to=two.nodeid, flags=NOREPLACE) == EEXIST
    guest.rename("one", "link", to=two.nodeid, flags=EXCHANGE)
    assert error_of(guest.rename, "link", "x", parent=two.nodeid, flags=WHITEOUT) == EINVAL
    assert sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*")) == [
        "one",
        "two",
        "two/link",
        "two/linked",
        "two/moved",
    ]
    assert error_of(guest.rmdir, "two") == ENOTEMPTY
    assert error_of(guest.unlink, "nothing") == ENOENT
    guest.unlink("one")
    guest.rmdir("link", two.nodeid)
    assert error_of(guest.lookup, "one") == ENOENT


@pytest.mark.parametrize("plus", [False, True])
@pytest.mark.parametrize("size", [400, 4096, 1 << 20])
def test_listing_is_whole_in_pieces_of_any_size(directory: Path, guest: FuseGuest, size: int, plus: bool) -> None:  # noqa: FBT001
    names = {f"file {number} {'x' * (number % 200)}" for number in range(300)}
    for name in names:
        (directory / name).touch()
    (directory / "directory").mkdir()
    found = guest.listing(size=size, plus=plus)
    by_name = {entry.name.decode(): entry for entry in found}
    assert len(found) == len(by_name) == len(names) + 3
    assert by_name.keys() == names | {"directory", ".", ".."}
    for name, entry in by_name.items():
        if name != "..":
            assert entry.ino == (directory / name).lstat().st_ino
        assert entry.kind == (4 if name in {"directory", ".", ".."} else 8)
        if plus and name not in {".", ".."}:
            assert entry.entry is not None
            assert entry.entry.attr == expected(directory / name)
            assert guest.getattr(entry.entry.nodeid) == expected(directory / name)
    assert by_name[".."].ino == directory.stat().st_ino, "what the directory lies in is not the guest's business"


def test_file_that_is_removed_goes_on_for_who_knows_it(directory: Path, guest: FuseGuest) -> None:
    entry, fh = guest.create("file")
    guest.write(entry.nodeid, fh, 0, b"content")
    other, _ = guest.create("other")
    guest.unlink("file")
    guest.rename("other", "third")
    guest.create("file")
    guest.rename("third", "file")  # over the new one
    assert guest.getattr(entry.nodeid).nlink == 0
    assert guest.read(entry.nodeid, guest.open(entry.nodeid), 0, 7) == b"content"
    assert guest.lookup("file").nodeid == other.nodeid
    assert guest.getattr(other.nodeid) == expected(directory / "file")


def test_times_and_modes_are_set(directory: Path, guest: FuseGuest) -> None:
    entry, fh = guest.create("file")
    times = struct.pack("<IIQQQQQQIIIIIIII", FATTR_ATIME | FATTR_MTIME, 0, fh, 0, 0, 1, 2, 0, 3, 4, 0, 0, 0, 0, 0, 0)
    guest.ask(SETATTR, entry.nodeid, times)
    found = (directory / "file").stat()
    assert (found.st_atime_ns, found.st_mtime_ns) == (1_000_000_003, 2_000_000_004)
    assert guest.setattr(entry.nodeid, FATTR_MODE, mode=0o640).mode == stat.S_IFREG | 0o640
    link = guest.symlink("file", "link")
    assert error_of(guest.setattr, link.nodeid, FATTR_MODE, mode=0o777) == EOPNOTSUPP
    assert (directory / "file").stat().st_mode == stat.S_IFREG | 0o640, "the link is not followed"


def test_owner_of_a_share_of_the_host_s_stays(guest: FuseGuest) -> None:
    entry, _ = guest.create("file", mode=0o6755)
    assert stat.S_IMODE(entry.attr.mode) == 0o755, "no program that runs as the server's user"
    assert (entry.attr.uid, entry.attr.gid) == (os.geteuid(), os.getegid())
    assert stat.S_IMODE(guest.setattr(entry.nodeid, FATTR_MODE, mode=0o6711).mode) == 0o711
    guest.setattr(entry.nodeid, FATTR_UID | FATTR_GID, uid=os.geteuid(), gid=os.getegid())
    assert error_of(guest.setattr, entry.nodeid, FATTR_UID, uid=os.geteuid() + 1) == EPERM
    assert error_of(guest.mknod, "device", stat.S_IFCHR | 0o666, rdev=0x103) == EPERM


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may act as other users")
def test_files_of_the_guest_s_users_are_theirs(directory: Path) -> None:
    guest = FuseGuest(FileServer(directory, owner="guest").answer, uid=1234, gid=2345)
    guest.mount()
    directory.chmod(0o777)
    file, _ = guest.create("file", mode=0o4755)
    made = [file, guest.mkdir("directory"), guest.symlink("x", "link"), guest.mknod("fifo", stat.S_IFIFO | 0o600)]
    assert {(entry.attr.uid, entry.attr.gid) for entry in made} == {(1234, 2345)}
    assert stat.S_IMODE(file.attr.mode) == 0o4755
    assert (os.geteuid(), os.getegid()) == (0, 0)
    guest.setattr(file.nodeid, FATTR_UID | FATTR_GID, uid=1, gid=2)
    assert ((directory / "file").stat().st_uid, (directory / "file").stat().st_gid) == (1, 2)
    assert error_of(guest.setattr, file.nodeid, FATTR_UID, uid=2**32 - 1) == EINVAL
    assert error_of(guest.mknod, "device", stat.S_IFBLK | 0o666) == EPERM
    (directory / "secret").write_bytes(b"of root")
    (directory / "secret").chmod(0o600)
    assert error_of(guest.create, "secret", flags=os.O_RDWR) == 13, "the guest's kernel has not checked this one"
    directory.chmod(0o700)
    assert error_of(guest.create, "new") == 13


def test_extended_attributes_of_users(guest: FuseGuest) -> None:
    entry, _ = guest.create("file")

    def set_to(name: bytes, value: bytes) -> None:
        guest.ask(SETXATTR, entry.nodeid, struct.pack("<II", len(value), 0) + name + b"\0" + value)

    def get(name: bytes, size: int) -> bytes:
        return guest.ask(GETXATTR, entry.nodeid, struct.pack("<II", size, 0) + name + b"\0")

    set_to(b"user.a", b"value")
    set_to(b"user.empty", b"")
    assert get(b"user.a", 100) == b"value"
    assert get(b"user.a", 0) == struct.pack("<II", 5, 0)
    assert error_of(get, b"user.a", 4) == ERANGE
    assert error_of(get, b"user.b", 4) == 61
    names = guest.ask(LISTXATTR, entry.nodeid, struct.pack("<II", 100, 0)).rstrip(b"\0").split(b"\0")
    assert sorted(names) == [b"user.a", b"user.empty"]
    assert guest.ask(LISTXATTR, entry.nodeid, bytes(8)) == struct.pack("<II", 18, 0)
    for name in (b"trusted.x", b"security.capability", b"system.posix_acl_access"):
        assert error_of(set_to, name, b"x") == error_of(get, name, 100) == EOPNOTSUPP
    guest.ask(REMOVEXATTR, entry.nodeid, b"user.a\0")
    assert error_of(get, b"user.a", 4) == 61


def test_statfs_is_the_host_s(directory: Path, guest: FuseGuest) -> None:
    found = os.statvfs(directory)
    blocks, _, _, files, _, bsize, namelen, frsize = struct.unpack_from("<QQQQQIII", guest.ask(STATFS, ROOT))
    assert (blocks, files, bsize, namelen, frsize) == (
        found.f_blocks,
        found.f_files,
        found.f_bsize,
        found.f_namemax,
        found.f_frsize,
    )


@pytest.mark.parametrize(("cache", "seconds"), [("never", 0), ("auto", 1), ("always", 86_400)])
def test_guest_may_believe_what_it_was_told_for_a_time(directory: Path, cache: str, seconds: int) -> None:
    (directory / "file").touch()
    guest = FuseGuest(FileServer(directory, cache=cache).answer)  # type: ignore[arg-type]
    guest.mount()
    entry = guest.lookup("file")
    assert (entry.entry_valid, entry.attr_valid) == (seconds, seconds)


def test_inodes_are_found_again_when_their_descriptors_are_closed(directory: Path) -> None:
    """At their places, where a guest's renames have put them too; and never in another file."""
    (directory / "deep" / "er").mkdir(parents=True)
    for number in range(200):
        (directory / "deep" / "er" / str(number)).write_bytes(b"%d" % number)
    guest = FuseGuest(FileServer(directory, max_open=64).answer)
    guest.mount()
    deeper = guest.lookup("er", guest.lookup("deep").nodeid).nodeid
    nodes = [guest.lookup(str(number), deeper).nodeid for number in range(200)]
    guest.rename("deep", "renamed")
    for number, nodeid in enumerate(nodes):
        fh = guest.open(nodeid)
        assert guest.read(nodeid, fh, 0, 10) == b"%d" % number
        guest.release(nodeid, fh)
    place = directory / "renamed" / "er"
    (place / "0").rename(place / "by the host")
    (place / "1").unlink()
    (place / "1").write_bytes(b"another file")
    assert [error_of(guest.open, nodeid) for nodeid in nodes[:2]] == [ESTALE, ESTALE]
    assert guest.lookup("by the host", deeper).nodeid == nodes[0]
    assert guest.getattr(nodes[0]).size == 1
    assert guest.lookup("1", deeper).nodeid != nodes[1]
