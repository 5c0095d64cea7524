"""Inode numbers that the host's file system gives again: an old nodeid is the old file, or ESTALE."""

import os
from collections.abc import Callable
from pathlib import Path

from daxmap import FileServer
from support.children import run_in_child
from support.fuse_client import Client, errno_of
from support.mounts import mount, skip_without_mounts, unshare_mounts
from support.rig import Rig
from support.sandbox import mount_ext4, needs_disk, needs_root

SIZE = 64 << 20


@needs_root
@needs_disk
def test_number_given_again_is_never_another_file(tmp_path: Path) -> None:
    skip_without_mounts()
    run_in_child(given_again, "host-window", tmp_path)


@needs_root
@needs_disk
def test_number_given_again_on_overlayfs_is_never_another_file(tmp_path: Path) -> None:
    skip_without_mounts()
    run_in_child(on_overlayfs, "host-window", tmp_path)


def forget_descriptors(guest: Client, share: Path) -> None:
    """Have the server know the guest's inodes by their places only."""
    for number in range(64):
        (share / f"other{number}").touch()
        guest.lookup(b"other%d" % number)


def replaced(guest: Client, share: Path, make: Callable[[Path], object]) -> tuple[int, bool]:
    """A nodeid that the host has put another file in the place of; and whether that has its inode number."""
    path = share / "file"
    path.write_text("old")
    node, number = guest.lookup(b"file"), path.stat().st_ino
    forget_descriptors(guest, share)
    path.unlink()
    make(path)
    return node.nodeid, path.lstat().st_ino == number


def write_new(path: Path) -> None:
    path.write_text("new")


def given_again(rig: Rig) -> None:
    unshare_mounts()
    disk = rig.file().path.parent / "disk"
    disk.mkdir()
    mount_ext4(disk, disk.parent / "image", SIZE)
    share = disk / "share"
    share.mkdir()
    guest = Client(FileServer(share, max_open=64))
    seen = set()
    kinds: list[Callable[[Path], object]] = [write_new, os.mkfifo, Path.mkdir]
    for make in kinds * 5:
        node, same = replaced(guest, share, make)
        seen.add(same)
        assert errno_of(guest.getattr, node) == "ESTALE"
        assert errno_of(guest.open, node) == "ESTALE"
        assert errno_of(guest.setattr, node, size=0) == "ESTALE"
        assert guest.lookup(b"file").nodeid != node
        path = share / "file"
        path.rmdir() if path.is_dir() else path.unlink()
    assert True in seen, "the file system gives numbers again at once: else this shows nothing"


def on_overlayfs(rig: Rig) -> None:
    unshare_mounts()
    disk = rig.file().path.parent / "disk"
    disk.mkdir()
    mount_ext4(disk, disk.parent / "image", SIZE)
    lower, upper, work, share = (disk / name for name in ("lower", "upper", "work", "share"))
    for directory in (lower, upper, work, share):
        directory.mkdir()
    mount("overlay", share, f"lowerdir={lower},upperdir={upper},workdir={work}")
    guest = Client(FileServer(share, max_open=64))
    seen = set()
    kinds: list[tuple[Callable[[Path], object], str]] = [(os.mkfifo, "ENXIO"), (write_new, "")]
    for make, opened in kinds * 5:
        node, same = replaced(guest, share, make)
        seen.add(same)
        assert errno_of(guest.open, node) == "ESTALE", "a FIFO is not opened"
        told = guest.lookup(b"file")
        assert told.nodeid != node
        assert errno_of(guest.open, told.nodeid) == opened
        (share / "file").unlink()
    assert True in seen, "the file system gives numbers again at once: else this shows nothing"
