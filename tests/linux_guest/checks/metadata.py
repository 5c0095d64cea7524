"""Modes, owners, times, extended attributes, and who may do what."""

import os
import stat
from errno import EACCES, EEXIST, ENODATA, EPERM
from struct import pack

from linux_guest.checks.names import folder
from linux_guest.guest import AT_FDCWD, AT_SYMLINK_NOFOLLOW
from linux_guest.rig import Checks, Rig, fails, need_root, same, same_bytes

checks = Checks()
USER, OTHER = 1234, 2345
UTIME_OMIT = (1 << 30) - 2
XATTR_CREATE, XATTR_REPLACE = 1, 2


@checks
def change_mode(rig: Rig) -> None:
    path = folder(rig, "chmod")
    rig.guest.make(f"{path}/file")
    # A server that is not root's gives each file to its own user. No guest may make programs that run as that user.
    privileged = 0o4000 if os.geteuid() == 0 else 0
    for mode in (0o600, privileged | 0o755, 0o1755, 0o000, 0o644):
        rig.guest.call("chmod", f"{path}/file", mode)
        same(stat.S_IMODE(rig.guest.stat(f"{path}/file").mode), mode, "the guest's mode")
        same(stat.S_IMODE((rig.always.host / "chmod/file").stat().st_mode), mode, "the host's mode")


@checks
def change_owner(rig: Rig) -> None:
    need_root()
    path = folder(rig, "chown")
    rig.guest.make(f"{path}/file")
    rig.guest.call("chmod", f"{path}/file", 0o6755)
    rig.guest.call("chown", f"{path}/file", USER, OTHER)
    found = rig.guest.stat(f"{path}/file")
    same((found.uid, found.gid), (USER, OTHER), "the guest's owner and group")
    same(stat.S_IMODE(found.mode), 0o755, "mode, without the bits that a new owner must not get")
    host = (rig.always.host / "chown/file").stat()
    same((host.st_uid, host.st_gid), (USER, OTHER), "the host's owner and group")
    rig.guest.call("chown", f"{path}/file", -1, USER)
    found = rig.guest.stat(f"{path}/file")
    same((found.uid, found.gid), (USER, USER), "after a change of the group alone")


@checks
def change_times(rig: Rig) -> None:
    path = folder(rig, "utimens")
    rig.guest.make(f"{path}/file")
    rig.guest.call("utimensat", AT_FDCWD, f"{path}/file", pack("<qqqq", 1_000, 5, 2_000_000_000, 999_999_999), 0)
    found = rig.guest.stat(f"{path}/file")
    same((found.atime_ns, found.mtime_ns), (1_000_000_000_005, 2_000_000_000_999_999_999), "the guest's times")
    same((rig.always.host / "utimens/file").stat().st_mtime_ns, 2_000_000_000_999_999_999, "the host's time")
    rig.guest.call("utimensat", AT_FDCWD, f"{path}/file", pack("<qqqq", 77, 0, 0, UTIME_OMIT), 0)
    found = rig.guest.stat(f"{path}/file")
    same((found.atime_ns, found.mtime_ns), (77 * 10**9, 2_000_000_000_999_999_999), "times, one of them changed")
    rig.guest.call("symlink", "none", f"{path}/link")
    rig.guest.call("utimensat", AT_FDCWD, f"{path}/link", pack("<qqqq", 1, 0, 2, 0), AT_SYMLINK_NOFOLLOW)
    same(rig.guest.stat(f"{path}/link").mtime_ns, 2 * 10**9, "a link's time")


@checks
def a_write_changes_the_time(rig: Rig) -> None:
    path = folder(rig, "mtime")
    rig.guest.make(f"{path}/file", b"old")
    rig.guest.call("utimensat", AT_FDCWD, f"{path}/file", pack("<qqqq", 1, 0, 1, 0), 0)
    with rig.guest.opened(f"{path}/file", os.O_WRONLY) as fd:
        rig.guest.write(fd, b"new")
    assert (rig.always.host / "mtime/file").stat().st_mtime_ns > 10**9, "the host's file looks unchanged"


@checks
def extended_attributes(rig: Rig) -> None:
    path = folder(rig, "xattr") + "/file"
    rig.guest.make(path)

    def setxattr(name: str, value: bytes, flags: int = 0) -> None:
        rig.guest.call("setxattr", path, name, value, len(value), flags)

    setxattr("user.one", b"1")
    setxattr("user.two", bytes(range(256)))
    same_bytes(rig.guest.getxattr(path, "user.two"), bytes(range(256)), "a value")
    same(sorted(rig.guest.listxattr(path)), ["user.one", "user.two"], "names")
    same_bytes(os.getxattr(rig.always.host / "xattr/file", "user.one"), b"1", "the host's value")
    with fails(EEXIST):
        setxattr("user.one", b"2", XATTR_CREATE)
    with fails(ENODATA):
        setxattr("user.none", b"2", XATTR_REPLACE)
    setxattr("user.one", b"", XATTR_REPLACE)
    same_bytes(rig.guest.getxattr(path, "user.one"), b"", "an empty value")
    rig.guest.call("removexattr", path, "user.one")
    with fails(ENODATA):
        rig.guest.getxattr(path, "user.one")
    with fails(ENODATA):
        rig.guest.call("removexattr", path, "user.one")


@checks
def access_as_another_user(rig: Rig) -> None:
    need_root()
    path = folder(rig, "access")
    rig.guest.make(f"{path}/secret", b"x")
    rig.guest.call("chmod", f"{path}/secret", 0o600)
    rig.guest.make(f"{path}/public", b"x")
    with rig.guest.user(USER, USER):
        with fails(EACCES):
            rig.guest.open(f"{path}/secret")
        with fails(EACCES):
            rig.guest.open(f"{path}/public", os.O_RDWR)
        same_bytes(rig.guest.contents(f"{path}/public"), b"x", "a file that all may read")
        with fails(EACCES):
            rig.guest.make(f"{path}/new")
        with fails(EACCES):
            rig.guest.call("unlink", f"{path}/public")
        with fails(EPERM):
            rig.guest.call("chmod", f"{path}/public", 0o777)
        with fails(EPERM):
            rig.guest.call("chown", f"{path}/public", USER, USER)


@checks
def files_of_another_user(rig: Rig) -> None:
    need_root()
    path = folder(rig, "user")
    rig.guest.call("chmod", path, 0o1777)
    with rig.guest.user(USER, OTHER):
        rig.guest.make(f"{path}/file", b"own")
        rig.guest.call("mkdir", f"{path}/dir", 0o700)
        rig.guest.call("symlink", "file", f"{path}/link")
        same_bytes(rig.guest.contents(f"{path}/link"), b"own", "its own file")
    for name in ("file", "dir", "link"):
        host = (rig.always.host / "user" / name).lstat()
        same((host.st_uid, host.st_gid), (USER, OTHER), f"owner and group of the host's {name}")
    with rig.guest.user(OTHER, OTHER):
        with fails(EACCES):
            rig.guest.listdir(f"{path}/dir")
        with fails(EPERM):  # the directory is sticky
            rig.guest.call("unlink", f"{path}/file")


@checks
def a_mode_of_none_is_no_obstacle_to_who_has_it_open(rig: Rig) -> None:
    need_root()
    path = folder(rig, "open-mode")
    rig.guest.call("chmod", path, 0o777)
    with rig.guest.user(USER, USER), rig.guest.opened(f"{path}/file", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0) as fd:
        same(rig.guest.write(fd, b"content"), 7, "bytes written")
        same_bytes(rig.guest.pread(fd, 8, 0), b"content", "content")
        with fails(EACCES):
            rig.guest.open(f"{path}/file")


@checks
def group_of_a_setgid_directory(rig: Rig) -> None:
    need_root()
    path = folder(rig, "setgid")
    rig.guest.call("chown", path, 0, OTHER)
    rig.guest.call("chmod", path, 0o2777)
    with rig.guest.user(USER, USER):
        rig.guest.make(f"{path}/file")
    found = rig.guest.stat(f"{path}/file")
    same((found.uid, found.gid), (USER, OTHER), "owner and group")
