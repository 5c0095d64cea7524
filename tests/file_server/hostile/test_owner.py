"""Whose files are, that a guest makes, and what it can't make: programs that run as the host, devices."""

import logging
import os
import platform
import stat
import struct
from collections.abc import Callable
from errno import EPERM
from pathlib import Path

import pytest

from daxmap import DaxMapper, FileServer
from support.children import run_in_child
from support.fuse_client import ROOT, Client, Op, errno_of
from support.guest_requests import READ, READ_WRITE, SLOT
from support.records import LOGGER, Recorder
from support.rig import Rig
from support.sandbox import forbid, needs_root, needs_seccomp

Serve = Callable[..., Client]

OWNERS = pytest.mark.parametrize("owner", ["host", pytest.param("guest", marks=needs_root)])
UNSHARE = {"x86_64": (272,), "aarch64": (97,)}.get(platform.machine(), ())
PRIVILEGES = stat.S_ISUID | stat.S_ISGID


@OWNERS
@pytest.mark.parametrize("kind", [stat.S_IFCHR, stat.S_IFBLK, stat.S_IFDIR, stat.S_IFLNK, 0o150000, 0o170000])
def test_devices_are_not_made(serve: Serve, share: Path, owner: str, kind: int) -> None:
    guest = serve(owner=owner)
    assert errno_of(guest.mknod, b"new", kind | 0o666, 0x103) == "EPERM"
    assert not (share / "new").exists()
    assert errno_of(guest.mknod, b"file", kind | 0o666, 0x103) == "EPERM"


@OWNERS
@pytest.mark.parametrize("kind", [0, stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK])
def test_other_files_are_made_with_no_number(serve: Serve, share: Path, owner: str, kind: int) -> None:
    guest = serve(owner=owner)
    assert guest.mknod(b"new", kind | 0o600, 0x103).attr.rdev == 0
    assert stat.S_IFMT((share / "new").lstat().st_mode) == (kind or stat.S_IFREG)
    rename_whiteout = 4
    assert errno_of(guest.rename, b"new", b"away", flags=rename_whiteout) == "EINVAL", "a whiteout is a device"


def test_where_files_are_the_hosts_no_program_of_a_guest_runs_as_the_host(serve: Serve, share: Path) -> None:
    guest = serve(owner="host")
    made, fh = guest.create(b"made", 0o6755)
    guest.mknod(b"node", stat.S_IFREG | 0o6755)
    guest.setattr(made.nodeid, mode=0o6755)
    guest.setattr(made.nodeid, mode=0o6755, fh=fh)
    for name in ("made", "node"):
        assert not (share / name).stat().st_mode & PRIVILEGES
    assert guest.mkdir(b"dir2").nodeid
    assert guest.setattr(guest.walk(b"dir2"), mode=0o2755).mode & 0o7777 == 0o2755, "of a directory it is harmless"


@pytest.mark.parametrize("how", ["open", "create", "size", "map"])
def test_program_of_the_host_that_a_guest_may_write_does_not_run_as_the_host_any_more(
    mapper: DaxMapper, serve: Serve, share: Path, how: str
) -> None:
    program = share / "file"
    program.chmod(0o6755)
    guest = serve(owner="host", mapper=mapper)
    node = guest.walk(b"file")
    guest.release(node, guest.open(node))
    assert program.stat().st_mode & PRIVILEGES == PRIVILEGES, "to read is not to write"
    if how == "open":
        guest.write(node, guest.open(node, os.O_WRONLY), b"evil")
    elif how == "create":
        guest.create(b"file", flags=os.O_RDWR)
    elif how == "size":
        guest.setattr(node, size=1)
    else:
        guest.ask(Op.SETUPMAPPING, node, struct.pack("<5Q", 2**64 - 1, 0, SLOT, READ, 0))
        assert program.stat().st_mode & PRIVILEGES == PRIVILEGES
        guest.ask(Op.SETUPMAPPING, node, struct.pack("<5Q", 2**64 - 1, 0, SLOT, READ_WRITE, 0))
    assert not program.stat().st_mode & PRIVILEGES


def test_where_files_are_the_hosts_they_are_given_to_nobody(serve: Serve, share: Path) -> None:
    guest = serve(owner="host")
    node = guest.walk(b"file")
    uid, gid = os.geteuid(), (share / "file").stat().st_gid
    for values in ({"uid": 1}, {"gid": 1}, {"uid": 1, "gid": 1}, {"uid": uid, "gid": 1}):
        assert errno_of(lambda values=values: guest.setattr(node, **values)) == "EPERM"
    for values in ({"uid": 2**32 - 1}, {"gid": 2**32 - 1}):
        assert errno_of(lambda values=values: guest.setattr(node, **values)) == "EINVAL"
    assert guest.setattr(node, uid=uid, gid=gid).uid == uid
    user = Client(guest.server, 1234, 5678)
    made, _fh = user.create(b"made")
    assert (made.attr.uid, made.attr.gid) == (os.geteuid(), (share / "made").stat().st_gid)


@needs_root
def test_where_files_are_the_guests_users_each_is_its_makers(serve: Serve, share: Path) -> None:
    share.chmod(0o777)
    root = serve(owner="guest")
    user = Client(root.server, 1234, 5678)
    for made in [
        user.create(b"file2")[0],
        user.mkdir(b"directory"),
        user.mknod(b"pipe", stat.S_IFIFO | 0o600),
        user.symlink(b"symlink", b"target"),
    ]:
        assert (made.attr.uid, made.attr.gid) == (1234, 5678)
    assert root.setattr(root.walk(b"file2"), uid=7, gid=8).uid == 7
    for user_, group in [(2**32 - 1, 0), (0, 2**32 - 1)]:
        nobody = Client(root.server, user_, group)
        assert errno_of(nobody.create, b"nobodys") == "EINVAL"
        assert errno_of(nobody.mkdir, b"nobodys") == "EINVAL"
    assert not (share / "nobodys").exists()
    made, _fh = root.create(b"of root")
    assert (made.attr.uid, made.attr.gid) == (0, 0), "the thread is itself again"


@needs_root
def test_user_of_a_guest_makes_nothing_where_that_user_may_not(serve: Serve, share: Path) -> None:
    (share / "dir").chmod(0o755)
    (share / "file").chmod(0o600)
    user = Client(serve(owner="guest").server, 1234, 5678)
    parent = user.walk(b"dir")
    for call, *arguments in [
        (user.create, b"new", 0o600, os.O_RDWR, parent),
        (user.mkdir, b"new", 0o700, parent),
        (user.symlink, b"new", b"target", parent),
        (user.mknod, b"new", stat.S_IFIFO | 0o600, 0, parent),
        (user.create, b"file", 0o600, os.O_RDONLY),
        (user.create, b"file", 0o600, os.O_RDWR),
    ]:
        assert errno_of(call, *arguments) == "EACCES"
    assert {path.name for path in (share / "dir").iterdir()} == {"deep", "file", "out"}


@OWNERS
@pytest.mark.parametrize(
    "name", ["trusted.some", "system.posix_acl_access", "system.posix_acl_default", "security.capability", "other", ""]
)
def test_foreign_attributes_are_neither_set_nor_seen(serve: Serve, share: Path, owner: str, name: str) -> None:
    guest = serve(owner=owner)
    node = guest.walk(b"file")
    if name.startswith("trusted.") and os.geteuid() == 0:
        os.setxattr(share / "file", name, b"of the host")
    if owner == "guest" and name.startswith("security."):
        pytest.skip("a guest's own affair there")
    attribute = name.encode()
    assert errno_of(guest.setxattr, node, attribute, b"value") == "ENOTSUP"
    assert errno_of(guest.getxattr, node, attribute) == "ENOTSUP"
    assert errno_of(guest.ask, Op.REMOVEXATTR, node, attribute + b"\0") == "ENOTSUP"
    assert guest.listxattr(node) == b""


def test_attributes_of_users_come_and_go(guest: Client, share: Path) -> None:
    node = guest.walk(b"file")
    guest.setxattr(node, b"user.some", b"value", os.XATTR_CREATE)
    assert errno_of(guest.setxattr, node, b"user.some", b"value", os.XATTR_CREATE) == "EEXIST"
    assert errno_of(guest.setxattr, node, b"user.none", b"value", os.XATTR_REPLACE) == "ENODATA"
    assert errno_of(guest.setxattr, node, b"user.some", b"value", 4) == "EINVAL"
    assert os.getxattr(share / "file", b"user.some") == b"value"
    guest.ask(Op.REMOVEXATTR, node, b"user.some\0")
    assert os.listxattr(share / "file") == []
    assert errno_of(guest.setxattr, ROOT, b"user." + b"n" * 251, b"value") == "ERANGE"
    assert errno_of(guest.setxattr, ROOT, b"user.large", bytes(65_537)) in {"E2BIG", "ENOSPC"}
    assert struct.unpack("<II", guest.listxattr(ROOT, 0)) == (0, 0)


def the_umask_is_the_process_s(rig: Rig) -> None:
    forbid(UNSHARE, EPERM)
    recorder = Recorder()
    LOGGER.addHandler(recorder)
    guest = Client(FileServer(rig.file().path.parent))
    LOGGER.removeHandler(recorder)
    [told] = recorder.take(logging.WARNING)
    assert "the process's umask applies to files that the guest makes" in told
    guest.init()
    os.umask(0o077)
    assert guest.create(b"made", mode=0o666)[0].attr.mode & 0o777 == 0o600


@needs_seccomp
def test_thread_that_has_no_umask_of_its_own_says_so(tmp_path: Path) -> None:
    run_in_child(the_umask_is_the_process_s, "host-window", tmp_path)
