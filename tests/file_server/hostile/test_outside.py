"""Nothing outside the directory: no name, no link, nothing that the host moves or mounts leads a guest out of it."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from daxmap import FileServer
from support.children import run_in_child
from support.fuse_client import ROOT, Client, errno_of
from support.mounts import mount, skip_without_mounts, unshare_mounts
from support.programs import TIMEOUT
from support.rig import Rig
from support.sandbox import needs_root
from support.walk_tree import tree

Serve = Callable[..., Client]

BAD_NAMES = [b"", b".", b"..", b"/", b"dir/file", b"../outside", b"../outside/secret", b"/proc/version", b"./file"]


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("below", [False, True])
def test_names_that_are_no_entry_are_refused_everywhere(
    guest: Client, share: Path, tmp_path: Path, name: bytes, *, below: bool
) -> None:
    before = tree(tmp_path)
    parent = guest.walk(b"dir") if below else ROOT
    node = guest.walk(b"file")
    for call, *arguments in [
        (guest.lookup, name, parent),
        (guest.symlink, name, b"target", parent),
        (guest.mknod, name, 0o100600, 0, parent),
        (guest.mkdir, name, 0o700, parent),
        (guest.unlink, name, parent),
        (guest.rmdir, name, parent),
        (guest.rename, name, b"to", parent),
        (guest.rename, b"file", name, ROOT, parent),
        (guest.link, node, name, parent),
        (guest.create, name, 0o600, os.O_RDWR, parent),
    ]:
        assert errno_of(call, *arguments) == "EINVAL", call
    assert tree(tmp_path) == before
    assert share.exists()


def test_longest_name_is_that_of_the_host(guest: Client) -> None:
    guest.mkdir(b"n" * 255)
    for length in (256, 4095, 70_000):
        assert errno_of(guest.lookup, b"n" * length) == "ENAMETOOLONG"
        assert errno_of(guest.mkdir, b"n" * length) == "ENAMETOOLONG"


def test_symbolic_links_are_read_and_never_followed(guest: Client, share: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    before = tree(outside)
    link, out = guest.walk(b"link"), guest.walk(b"dir", b"out")
    assert guest.readlink(link) == os.fsencode(outside / "secret")
    for node in (link, out):
        for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR | os.O_TRUNC):
            assert errno_of(guest.open, node, flags) == "ENXIO"
        assert errno_of(guest.opendir, node) == "ENOTDIR"
        assert errno_of(guest.lookup, b"secret", node) == "ENOTDIR"
        assert errno_of(guest.mkdir, b"new", 0o700, node) == "ENOTDIR"
        assert errno_of(guest.create, b"new", 0o600, os.O_RDWR, node) == "ENOTDIR"
        assert errno_of(guest.unlink, b"secret", node) == "ENOTDIR"
        assert errno_of(guest.rename, b"file", b"secret", ROOT, node) == "ENOTDIR"
        assert errno_of(guest.setattr, node, size=0) == "EINVAL"
        assert errno_of(guest.setattr, node, mode=0o777) in {"", "EOPNOTSUPP", "ENOTSUP"}
        assert errno_of(guest.setattr, node, atime=1, mtime=1) == ""
        assert errno_of(guest.setxattr, node, b"user.some", b"value") in {"EPERM", "ENOTSUP", "EOPNOTSUPP"}
        assert errno_of(guest.listxattr, node) == ""
    assert errno_of(guest.create, b"link", 0o600, os.O_RDWR) == "ENXIO"
    guest.link(link, b"another")
    assert (share / "another").is_symlink(), "the link itself has another name now"
    assert tree(outside) == before


@pytest.mark.parametrize("name", [b"fifo", b"socket"])
def test_pipes_and_sockets_are_neither_opened_nor_waited_for(guest: Client, name: bytes) -> None:
    node = guest.walk(name)
    for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
        assert errno_of(guest.open, node, flags) == "ENXIO"
        assert errno_of(guest.create, name, 0o600, flags) == "ENXIO"
    assert errno_of(guest.opendir, node) == "ENOTDIR"
    assert errno_of(guest.setattr, node, size=0) == "EINVAL"
    assert guest.setattr(node, mode=0o640).mode & 0o777 == 0o640
    assert errno_of(guest.setattr, node, mtime=5) == ""


@needs_root
def test_devices_of_the_host_are_not_opened(guest: Client, share: Path) -> None:
    os.mknod(share / "null", 0o20666, os.makedev(1, 3))
    os.mknod(share / "disk", 0o60666, os.makedev(7, 0))
    for name in (b"null", b"disk"):
        node = guest.walk(name)
        for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR | os.O_TRUNC):
            assert errno_of(guest.open, node, flags) == "ENXIO"
            assert errno_of(guest.create, name, 0o600, flags & ~os.O_TRUNC) == "ENXIO"
        assert errno_of(guest.setattr, node, size=0) == "EINVAL"


def test_directory_that_the_host_moves_out_leads_nowhere_up(guest: Client, share: Path, tmp_path: Path) -> None:
    node = guest.walk(b"dir")
    deep = guest.lookup(b"deep", node).nodeid
    (share / "dir").rename(tmp_path / "outside" / "dir")
    for parent in (node, deep):
        for name in (b"..", b"../secret", b"../../outside/secret"):
            assert errno_of(guest.lookup, name, parent) == "EINVAL"
    assert errno_of(guest.lookup, b"dir") == "ENOENT"


def test_directory_that_the_host_moves_out_is_left(serve: Serve, share: Path, tmp_path: Path) -> None:
    """As soon as the guest may not believe any more what it was told: here at once."""
    guest = serve(cache="never")
    node, deep, file = guest.walk(b"dir"), guest.walk(b"dir", b"deep"), guest.walk(b"dir", b"file")
    (share / "dir").rename(share / "moved")
    assert guest.lookup(b"file", node).nodeid == file, "within the share it may move"
    fh = guest.opendir(deep)
    (share / "moved").rename(tmp_path / "outside" / "dir")
    (tmp_path / "outside" / "dir" / "deep" / "new").write_text("of the host")
    for directory in (node, deep):
        assert errno_of(guest.lookup, b"new", directory) == "ESTALE"
        assert errno_of(guest.create, b"new", 0o600, os.O_RDWR, directory) == "ESTALE"
        assert errno_of(guest.opendir, directory) == "ESTALE"
        assert errno_of(guest.rename, b"file", b"new", to=directory) == "ESTALE"
    assert all(entry.entry is None or entry.entry.nodeid == 0 for entry in guest.readdir(deep, fh, plus=True))
    assert (tmp_path / "outside" / "dir" / "deep" / "new").read_text() == "of the host"


def test_what_the_host_moved_away_is_stale_where_no_descriptor_is_kept(
    serve: Serve, share: Path, tmp_path: Path
) -> None:
    guest = serve(max_open=64)
    node, inside = guest.walk(b"dir"), guest.walk(b"dir", b"file")
    (share / "dir").rename(tmp_path / "outside" / "dir")
    for number in range(64):
        (share / f"other{number}").touch()
        guest.lookup(b"other%d" % number)
    (tmp_path / "outside" / "dir" / "new").write_text("of the host")
    for call in (guest.getattr, guest.opendir):
        assert errno_of(call, node) == "ESTALE"
    assert errno_of(guest.lookup, b"new", node) == "ESTALE"
    assert errno_of(guest.open, inside) == "ESTALE"
    assert errno_of(guest.create, b"new", 0o600, os.O_RDWR, node) == "ESTALE"


def test_link_in_the_place_of_a_known_directory_is_not_taken_for_it(serve: Serve, share: Path, tmp_path: Path) -> None:
    guest = serve(max_open=64)
    node, inside = guest.walk(b"dir"), guest.walk(b"dir", b"file")
    (tmp_path / "outside" / "file").write_text("of the host")
    (share / "dir").rename(share / "away")
    (share / "dir").symlink_to(tmp_path / "outside")
    for number in range(64):
        (share / f"other{number}").touch()
        guest.lookup(b"other%d" % number)
    assert errno_of(guest.lookup, b"secret", node) == "ESTALE"
    assert errno_of(guest.open, inside) == "ESTALE"


def test_share_is_the_directory_that_was_there(serve: Serve, share: Path, tmp_path: Path) -> None:
    guest = serve()
    share.rename(tmp_path / "moved")
    share.mkdir()
    (share / "other").touch()
    assert errno_of(guest.lookup, b"other") == "ENOENT"
    assert guest.lookup(b"file").attr.size == 5000
    guest.create(b"new")
    assert (tmp_path / "moved" / "new").exists()
    assert errno_of(guest.lookup, b"..") == "EINVAL"


def test_share_that_was_removed_has_nothing(serve: Serve, tmp_path: Path) -> None:
    directory = tmp_path / "short-lived"
    directory.mkdir()
    guest = serve(directory)
    directory.rmdir()
    assert errno_of(guest.lookup, b"any") == "ENOENT"
    assert errno_of(guest.create, b"any") == "ENOENT"
    assert guest.getattr(ROOT).nlink == 0


def test_unknown_and_forgotten_inodes_are_nobodys(guest: Client) -> None:
    file = guest.walk(b"file")
    fh = guest.open(file)
    for node in (0, file + 1, 2**32, 2**63, 2**64 - 1):
        for call, *arguments in [
            (guest.getattr, node),
            (guest.open, node),
            (guest.opendir, node),
            (guest.lookup, b"file", node),
            (guest.mkdir, b"new", 0o700, node),
            (guest.read, node, fh, 10),
            (guest.getattr, node, fh),
            (guest.link, node, b"new"),
            (guest.rename, b"file", b"new", ROOT, node),
            (guest.readlink, node),
            (guest.listxattr, node),
            (guest.setattr, node),
            (guest.release, node, fh),
        ]:
            assert errno_of(call, *arguments) == "EBADF"


@needs_root
def test_what_is_mounted_below_is_not_seen(tmp_path: Path) -> None:
    skip_without_mounts()
    run_in_child(mounted_below, "host-window", tmp_path)


def mounted_below(rig: Rig) -> None:
    unshare_mounts()
    base = rig.file().path.parent / "base"
    share, outside = base / "share", base / "outside"
    for directory in (share / "known", share / "later", outside / "in"):
        directory.mkdir(parents=True)
    (share / "known" / "under").write_text("of the share")
    (share / "file").write_text("of the share")
    (outside / "secret").write_text("of the host")
    guest = Client(FileServer(share))
    known, file = guest.walk(b"known"), guest.walk(b"file")
    mount("tmpfs", share / "known")
    (share / "known" / "over").touch()
    for source, target in [("outside", "share/later"), ("outside/secret", "share/file")]:
        command = ["mount", "--bind", str(base / source), str(base / target)]
        subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT)
    before = tree(outside)
    for name in (b"known", b"later", b"file"):
        assert errno_of(guest.lookup, name) == "EXDEV"
    assert errno_of(guest.create, b"file") == "EXDEV"
    assert errno_of(guest.lookup, b"over", known) == "ENOENT", "what was known is still what it was"
    assert guest.lookup(b"under", known).nodeid
    assert guest.read(file, guest.open(file), 100) == b"of the share"
    told = {entry.name: entry for entry in guest.readdir(ROOT, guest.opendir(), plus=True)}
    for name in (b"known", b"later", b"file"):
        entry = told[name].entry
        assert entry is not None
        assert (entry.nodeid, entry.attr.ino) == (0, 0)
    guest.mkdir(b"new")
    for name in (b"known", b"later"):
        assert errno_of(guest.rmdir, name) == "EBUSY"
        assert errno_of(guest.rename, name, b"elsewhere") == "EBUSY"
        assert errno_of(guest.rename, b"new", name) in {"EBUSY", "EXDEV"}
    assert errno_of(guest.unlink, b"file") == "EBUSY"
    again = Client(FileServer(share))
    assert errno_of(again.lookup, b"later") == errno_of(again.lookup, b"known") == "EXDEV"
    assert tree(outside) == before
