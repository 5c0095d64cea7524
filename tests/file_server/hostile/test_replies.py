"""What a guest is told of files: each field as include/uapi/linux/fuse.h has it, and as stat(2) says on the host."""

import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from support.fuse_client import ROOT, Attr, Client, Dirent, Op, errno_of

Serve = Callable[..., Client]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes device nodes")
DAY = 24 * 60 * 60


def assert_told(told: Attr, path: Path) -> None:
    status = path.lstat()
    times = (told.atime, told.atimensec), (told.mtime, told.mtimensec), (told.ctime, told.ctimensec)
    assert tuple(seconds * 10**9 + nsec for seconds, nsec in times) == (
        status.st_atime_ns,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )
    assert (told.ino, told.size, told.blocks, told.mode) == (
        status.st_ino,
        status.st_size,
        status.st_blocks,
        status.st_mode,
    )
    assert (told.nlink, told.uid, told.gid, told.blksize) == (
        status.st_nlink,
        status.st_uid,
        status.st_gid,
        status.st_blksize,
    )
    assert told.flags == 0, "no DAX without a mapper"


@pytest.mark.parametrize("name", ["file", "dir", "link", "fifo", "socket"])
def test_attributes_are_those_of_the_file_itself(guest: Client, share: Path, name: str) -> None:
    entry = guest.lookup(name.encode())
    assert_told(entry.attr, share / name)
    assert_told(guest.getattr(entry.nodeid), share / name)
    assert entry.generation == 0
    assert entry.nodeid > ROOT


def test_attributes_of_the_root(guest: Client, share: Path) -> None:
    assert_told(guest.getattr(ROOT), share)


@needs_root
@pytest.mark.parametrize(("major", "minor"), [(1, 3), (0x123, 0x45678), (4095, 0xFFFFF)])
def test_device_numbers_are_encoded_as_linux_decodes_them(guest: Client, share: Path, major: int, minor: int) -> None:
    os.mknod(share / "device", stat.S_IFCHR | 0o600, os.makedev(major, minor))
    assert guest.lookup(b"device").attr.rdev == minor & 0xFF | major << 8 | (minor & ~0xFF) << 12


def test_what_was_made_is_told_with_its_attributes(guest: Client, share: Path) -> None:
    made, fh = guest.create(b"made")
    assert_told(made.attr, share / "made")
    assert_told(guest.getattr(made.nodeid, fh), share / "made")
    for name, entry in {
        "directory": guest.mkdir(b"directory"),
        "symlink": guest.symlink(b"symlink", b"any target"),
        "pipe": guest.mknod(b"pipe", stat.S_IFIFO | 0o600),
        "another": guest.link(made.nodeid, b"another"),
    }.items():
        assert_told(entry.attr, share / name)
    assert guest.lookup(b"another").nodeid == made.nodeid
    assert guest.readlink(guest.walk(b"symlink")) == b"any target"
    assert_told(guest.setattr(made.nodeid, mode=0o600, mtime=5), share / "made")


@pytest.mark.parametrize(("cache", "seconds"), [("never", 0), ("auto", 1), ("always", DAY)])
def test_guest_may_believe_what_it_was_told_for_a_time(serve: Serve, cache: str, seconds: int) -> None:
    guest = serve(cache=cache)
    entry = guest.lookup(b"file")
    assert entry.entry_valid == entry.attr_valid == (seconds, 0)
    assert struct.unpack("<QI", guest.ask(Op.GETATTR, ROOT, bytes(16))[:12]) == (seconds, 0)


@pytest.mark.parametrize(("cache", "of_file", "of_directory"), [("never", 1, 0), ("auto", 0, 0), ("always", 2, 2 | 8)])
def test_guest_may_keep_what_it_has_read(serve: Serve, cache: str, of_file: int, of_directory: int) -> None:
    """By FOPEN_DIRECT_IO, FOPEN_KEEP_CACHE and FOPEN_CACHE_DIR of linux/fuse.h: 1, 2 and 8."""
    guest = serve(cache=cache)
    for opcode, node, flags, expected in (
        (Op.OPEN, guest.walk(b"file"), os.O_RDONLY, of_file),
        (Op.OPENDIR, ROOT, os.O_DIRECTORY, of_directory),
    ):
        _, told, _ = struct.unpack("<QII", guest.ask(opcode, node, struct.pack("<II", flags, 0)))
        assert told == expected


@pytest.mark.parametrize("plus", [False, True])
def test_directory_is_told_whole_in_pieces_of_any_size(guest: Client, share: Path, *, plus: bool) -> None:
    for length in range(1, 256, 7):  # each padding
        (share / ("n" * length)).touch()
    fh = guest.opendir()
    for size in (300 + 128, 1000, 4096, 1 << 20):
        found: dict[bytes, Dirent] = {}
        offset = 0
        while part := guest.readdir(ROOT, fh, size, offset, plus=plus):
            found |= {entry.name: entry for entry in part}
            offset = part[-1].offset
        assert set(found) == {b".", b"..", *(os.fsencode(path.name) for path in share.iterdir())}
    for name, told in found.items():
        path = share / os.fsdecode(name)
        status = path.lstat()
        assert told.kind == stat.S_IFMT(status.st_mode) >> 12
        if name == b"..":
            assert told.ino == share.stat().st_ino, "what the share lies in is the host's affair"
        else:
            assert told.ino == status.st_ino
        if told.entry is not None and name not in {b".", b".."}:
            assert_told(told.entry.attr, path)
            assert told.entry.nodeid == guest.lookup(name).nodeid


def test_dots_in_readdirplus_name_no_inode(guest: Client) -> None:
    found = {entry.name: entry.entry for entry in guest.readdir(ROOT, guest.opendir(), plus=True)}
    for name in (b".", b".."):
        entry = found[name]
        assert entry is not None
        assert (entry.nodeid, entry.attr.mode) == (0, 0)


def test_what_readdirplus_has_no_room_for_is_not_known(guest: Client) -> None:
    fh = guest.opendir()
    told = guest.readdir(ROOT, fh, 600, plus=True)
    known = [entry.entry.nodeid for entry in told if entry.entry and entry.entry.nodeid]
    assert f"{len(known)} inodes known" in repr(guest.server)


def test_file_system_is_told_as_statvfs_has_it(guest: Client, share: Path) -> None:
    body = guest.ask(Op.STATFS, ROOT)
    assert len(body) == 80
    blocks, _bfree, _bavail, files, _ffree, bsize, namelen, frsize, *rest = struct.unpack("<5Q10I", body)
    status = os.statvfs(share)
    assert (blocks, files) == (status.f_blocks, status.f_files)
    assert (bsize, namelen, frsize) == (status.f_bsize, status.f_namemax, status.f_frsize)
    assert not any(rest)


def test_times_before_1970_and_after_2038_come_through(guest: Client, share: Path) -> None:
    os.utime(share / "file", (-5, 2**33))
    told = guest.lookup(b"file").attr
    assert (told.atime, told.mtime) == (2**64 - 5, 2**33)


def test_extended_attribute_is_told_in_the_size_it_has(guest: Client, share: Path) -> None:
    node = guest.walk(b"file")
    try:
        os.setxattr(share / "file", b"user.some", b"value")
    except OSError as error:
        pytest.skip(f"no extended attributes here: {error}")
    for size, told in [(0, struct.pack("<II", 5, 0)), (5, b"value"), (2**32 - 1, b"value")]:
        assert guest.getxattr(node, b"user.some", size) == told
    assert errno_of(guest.getxattr, node, b"user.some", 4) == "ERANGE"
    assert guest.listxattr(node, 0) == struct.pack("<II", 10, 0)
    assert guest.listxattr(node, 10) == b"user.some\0"
    assert errno_of(guest.listxattr, node, 9) == "ERANGE"
