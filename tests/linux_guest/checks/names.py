"""Directories and names, as pjdfstest asks of a file system."""

import os
import stat
from errno import EEXIST, EINVAL, EISDIR, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, ENOTEMPTY

from linux_guest.guest import AT_FDCWD
from linux_guest.rig import Checks, Rig, fails, same, same_bytes

checks = Checks()
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2


def folder(rig: Rig, name: str) -> str:
    """A new directory, made by the guest."""
    path = rig.always.path(name)
    rig.guest.call("mkdir", path, 0o755)
    return path


def same_names(found: list[str], expected: set[str]) -> None:
    """What a directory lists is what it has."""
    same(len(found), len(set(found)), "distinct names")
    missing, excess = sorted(expected - set(found)), sorted(set(found) - expected)
    assert not missing, f"not listed: {missing[:9]}"
    assert not excess, f"listed, but not there: {excess[:9]}"


@checks
def create_exclusively(rig: Rig) -> None:
    path = folder(rig, "create")
    rig.guest.make(f"{path}/new", b"content")
    same((rig.always.host / "create/new").read_bytes(), b"content", "the host's file")
    for name in ("new", "."):
        with fails(EEXIST):
            rig.guest.open(f"{path}/{name}", os.O_RDWR | os.O_CREAT | os.O_EXCL)
    with fails(EEXIST):
        rig.guest.call("mkdir", f"{path}/new", 0o755)
    with fails(ENOENT):
        rig.guest.open(f"{path}/none/new", os.O_RDWR | os.O_CREAT)
    with fails(ENOTDIR):
        rig.guest.open(f"{path}/new/new", os.O_RDWR | os.O_CREAT)
    with fails(EISDIR):
        rig.guest.open(path, os.O_RDWR)


@checks
def modes_of_new_files(rig: Rig) -> None:
    path = folder(rig, "modes")
    for mode in (0o644, 0o400, 0o755, 0o777):
        with rig.guest.opened(f"{path}/{mode:o}", os.O_WRONLY | os.O_CREAT, mode):
            same(stat.S_IMODE(rig.guest.stat(f"{path}/{mode:o}").mode), mode, "the guest's mode")
            same(stat.S_IMODE((rig.always.host / f"modes/{mode:o}").stat().st_mode), mode, "the host's mode")
    rig.guest.call("mkdir", f"{path}/dir", 0o1777)
    same(rig.guest.stat(f"{path}/dir").mode, stat.S_IFDIR | 0o1777, "a directory's mode")
    rig.guest.call("mknod", f"{path}/fifo", stat.S_IFIFO | 0o600, 0)
    same(rig.guest.stat(f"{path}/fifo").mode, stat.S_IFIFO | 0o600, "a FIFO's mode")


@checks
def hard_links(rig: Rig) -> None:
    path = folder(rig, "links")
    rig.guest.make(f"{path}/a", b"one")
    rig.guest.call("link", f"{path}/a", f"{path}/b")
    a, b = rig.guest.stat(f"{path}/a"), rig.guest.stat(f"{path}/b")
    same((a.inode, a.links), (b.inode, 2), "inode and links")
    with rig.guest.opened(f"{path}/b", os.O_WRONLY) as fd:
        rig.guest.write(fd, b"two")
    same_bytes(rig.guest.contents(f"{path}/a"), b"two", "the other name")
    with fails(EEXIST):
        rig.guest.call("link", f"{path}/a", f"{path}/b")
    rig.guest.call("unlink", f"{path}/a")
    same(rig.guest.stat(f"{path}/b").links, 1, "links")
    with fails(ENOENT):
        rig.guest.stat(f"{path}/a")


@checks
def rename_files(rig: Rig) -> None:
    path = folder(rig, "rename")
    rig.guest.make(f"{path}/a", b"a")
    rig.guest.make(f"{path}/b", b"b")
    inode = rig.guest.stat(f"{path}/a").inode
    rig.guest.call("rename", f"{path}/a", f"{path}/b")
    same(rig.guest.stat(f"{path}/b").inode, inode, "inode")
    same_bytes(rig.guest.contents(f"{path}/b"), b"a", "the file that was renamed over another")
    with fails(ENOENT):
        rig.guest.stat(f"{path}/a")
    rig.guest.call("mkdir", f"{path}/dir", 0o755)
    with fails(EISDIR):
        rig.guest.call("rename", f"{path}/b", f"{path}/dir")
    with fails(ENOTDIR):
        rig.guest.call("rename", f"{path}/dir", f"{path}/b")
    with fails(ENOENT):
        rig.guest.call("rename", f"{path}/none", f"{path}/b")
    rig.guest.call("rename", f"{path}/b", f"{path}/dir/b")
    same((rig.always.host / "rename/dir/b").read_bytes(), b"a", "the file in another directory")


@checks
def rename_directories(rig: Rig) -> None:
    path = folder(rig, "rename-dirs")
    for name in ("a", "b", "full"):
        rig.guest.call("mkdir", f"{path}/{name}", 0o755)
    rig.guest.make(f"{path}/full/file")
    rig.guest.call("rename", f"{path}/a", f"{path}/b")
    same_names(rig.guest.listdir(path), {".", "..", "b", "full"})
    with fails(ENOTEMPTY):
        rig.guest.call("rename", f"{path}/b", f"{path}/full")
    rig.guest.call("rename", f"{path}/full", f"{path}/b")
    same(rig.guest.stat(f"{path}/b/file").size, 0, "size of what lies in it")
    with fails(EINVAL):
        rig.guest.call("rename", f"{path}/b", f"{path}/b/within")


@checks
def rename_with_flags(rig: Rig) -> None:
    path = folder(rig, "rename-flags")
    rig.guest.make(f"{path}/a", b"a")
    rig.guest.make(f"{path}/b", b"b")

    def rename(old: str, new: str, flags: int) -> None:
        rig.guest.call("renameat2", AT_FDCWD, f"{path}/{old}", AT_FDCWD, f"{path}/{new}", flags)

    with fails(EEXIST):
        rename("a", "b", RENAME_NOREPLACE)
    rename("a", "b", RENAME_EXCHANGE)
    same_bytes(rig.guest.contents(f"{path}/a"), b"b", "a after the exchange")
    same_bytes(rig.guest.contents(f"{path}/b"), b"a", "b after the exchange")
    with fails(ENOENT):
        rename("a", "none", RENAME_EXCHANGE)
    rename("a", "c", RENAME_NOREPLACE)
    same_names(rig.guest.listdir(path), {".", "..", "b", "c"})


@checks
def unlink_and_rmdir(rig: Rig) -> None:
    path = folder(rig, "remove")
    rig.guest.call("mkdir", f"{path}/dir", 0o755)
    rig.guest.make(f"{path}/dir/file", b"x")
    with fails(ENOTEMPTY):
        rig.guest.call("rmdir", f"{path}/dir")
    with fails(EISDIR):
        rig.guest.call("unlink", f"{path}/dir")
    with fails(ENOTDIR):
        rig.guest.call("rmdir", f"{path}/dir/file")
    with rig.guest.opened(f"{path}/dir/file") as fd:
        rig.guest.call("unlink", f"{path}/dir/file")
        same_bytes(rig.guest.pread(fd, 8, 0), b"x", "a file that has no name any more")
    rig.guest.call("rmdir", f"{path}/dir")
    for call in ("unlink", "rmdir"):
        with fails(ENOENT):
            rig.guest.call(call, f"{path}/dir")
    same(list((rig.always.host / "remove").iterdir()), [], "what the host has")


@checks
def symbolic_links(rig: Rig) -> None:
    path = folder(rig, "symlinks")
    rig.guest.make(f"{path}/target", b"content")
    rig.guest.call("symlink", "target", f"{path}/link")
    same(rig.guest.readlink(f"{path}/link"), "target", "readlink")
    same((rig.always.host / "symlinks/link").readlink().name, "target", "the host's readlink")
    same_bytes(rig.guest.contents(f"{path}/link"), b"content", "through the link")
    assert stat.S_ISLNK(rig.guest.stat(f"{path}/link").mode), "statx does not see a link"
    long = "x" * 1000
    rig.guest.call("symlink", long, f"{path}/long")
    same(rig.guest.readlink(f"{path}/long"), long, "a long target")
    rig.guest.call("symlink", "/etc/hostname", f"{path}/absolute")  # the guest's, which has none
    with fails(ENOENT):
        rig.guest.open(f"{path}/absolute")
    rig.guest.call("symlink", "loop", f"{path}/loop")
    with fails(ELOOP):
        rig.guest.open(f"{path}/loop")
    with fails(EINVAL):
        rig.guest.readlink(f"{path}/target")
    with fails(EEXIST):
        rig.guest.call("symlink", "target", f"{path}/link")


@checks
def large_directory(rig: Rig) -> None:
    path = folder(rig, "large-dir")
    names = {f"{number:04}-{'n' * (number % 60)}" for number in range(3000)}
    for name in names:
        (rig.always.host / "large-dir" / name).touch()
    same_names(rig.guest.listdir(path), names | {".", ".."})
    for name in sorted(names)[::2]:
        (rig.always.host / "large-dir" / name).unlink()
    same_names(rig.guest.listdir(path), set(sorted(names)[1::2]) | {".", ".."})


@checks
def dots_at_the_top(rig: Rig) -> None:
    names = rig.guest.listdir(rig.always.mount_point)
    assert names.count(".") == names.count("..") == 1, "no . and .. there"
    top = rig.guest.stat(rig.always.mount_point)
    same(rig.guest.stat(folder(rig, "below") + "/..").inode, top.inode, "inode of below/..")


@checks
def long_names(rig: Rig) -> None:
    path = folder(rig, "long-names")
    longest = "n" * 255
    rig.guest.make(f"{path}/{longest}", b"x")
    same_bytes((rig.always.host / "long-names" / longest).read_bytes(), b"x", "the host's file")
    for call in ("unlink", "rmdir"):
        with fails(ENAMETOOLONG):
            rig.guest.call(call, f"{path}/{longest}n")
    with fails(ENAMETOOLONG):
        rig.guest.stat(f"{path}/{longest}n")
    with fails(ENAMETOOLONG):
        rig.guest.make(f"{path}/{longest}n")
    rig.guest.call("unlink", f"{path}/{longest}")
