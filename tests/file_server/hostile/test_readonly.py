"""A read-only share: nothing on the host changes, not even a time, and overlayfs copies nothing."""

import os
import struct
from collections.abc import Callable
from pathlib import Path

from daxmap import DaxMapper, FileServer, HostWindowBackend
from support.children import run_in_child
from support.fuse_client import ROOT, Client, Op, errno_of
from support.guest_requests import READ, READ_WRITE, SLOT
from support.mounts import mount, skip_without_mounts, unshare_mounts
from support.rig import Rig
from support.sandbox import needs_root
from support.walk_tree import read_times, tree
from support.windows import host_window

Serve = Callable[..., Client]
OLD = 10**9
NO_HANDLE = 2**64 - 1


def changes(guest: Client, file: int, fh: int) -> dict[str, str]:
    """What each request that would change anything is answered."""
    body = struct.pack("<QQIIQII", fh, 0, 4, 0, 0, 0, 0) + b"data"
    calls: dict[str, Callable[[], object]] = {
        "open to write": lambda: guest.open(file, os.O_WRONLY),
        "open to do both": lambda: guest.open(file, os.O_RDWR),
        "open to empty": lambda: guest.open(file, os.O_RDONLY | os.O_TRUNC),
        "create": lambda: guest.create(b"new"),
        "create what is there": lambda: guest.create(b"file"),
        "mode": lambda: guest.setattr(file, mode=0o600),
        "size": lambda: guest.setattr(file, size=0),
        "times": lambda: guest.setattr(file, atime=1, mtime=1),
        "nothing": lambda: guest.setattr(file),
        "owner": lambda: guest.setattr(file, uid=0, gid=0),
        "mkdir": lambda: guest.mkdir(b"new"),
        "mknod": lambda: guest.mknod(b"new", 0o100600),
        "device": lambda: guest.mknod(b"new", 0o20600, 0x103),
        "symlink": lambda: guest.symlink(b"new", b"target"),
        "link": lambda: guest.link(file, b"new"),
        "unlink": lambda: guest.unlink(b"file"),
        "unlink what is not there": lambda: guest.unlink(b"none"),
        "rmdir": lambda: guest.rmdir(b"dir"),
        "rename": lambda: guest.rename(b"file", b"new"),
        "exchange": lambda: guest.rename(b"file", b"dir", flags=2),
        "set an attribute": lambda: guest.setxattr(file, b"user.some", b"value"),
        "remove an attribute": lambda: guest.ask(Op.REMOVEXATTR, file, b"user.some\0"),
        "allocate": lambda: guest.fallocate(file, fh, 0, 10_000),
        "write": lambda: guest.ask(Op.WRITE, file, body),
        "map": lambda: guest.ask(Op.SETUPMAPPING, file, struct.pack("<5Q", NO_HANDLE, 0, SLOT, READ_WRITE, 0)),
        "map by handle": lambda: guest.ask(Op.SETUPMAPPING, file, struct.pack("<5Q", fh, 0, SLOT, READ_WRITE, 0)),
    }
    return {name: errno_of(call) for name, call in calls.items()}


def look_at_everything(guest: Client, mapper: DaxMapper) -> tuple[int, int]:
    """All requests that only read; a file that is open."""
    file = guest.walk(b"file")
    fh, lists, deep = guest.open(file, os.O_RDONLY), guest.opendir(), guest.walk(b"dir")
    assert len(guest.read(file, fh, 10_000)) == 5000
    guest.readdir(ROOT, lists)
    guest.readdir(ROOT, lists, plus=True)
    guest.readdir(deep, guest.opendir(deep), plus=True)
    guest.listxattr(file)
    assert guest.readlink(guest.walk(b"link"))
    errno_of(guest.getxattr, file, b"user.some")
    guest.lseek(file, fh, 0, os.SEEK_DATA)
    guest.ask(Op.STATFS, ROOT)
    guest.ask(Op.FLUSH, file, struct.pack("<QIIQ", fh, 0, 0, 0))
    guest.ask(Op.FSYNC, file, struct.pack("<QII", fh, 0, 0))
    guest.ask(Op.FSYNCDIR, ROOT, struct.pack("<QII", lists, 0, 0))
    guest.ask(Op.SETUPMAPPING, file, struct.pack("<5Q", NO_HANDLE, 0, SLOT, READ, 0))
    assert mapper.read(mapper.base, 5) == b"hello"
    return file, fh


def served(share: Path, mapper: DaxMapper) -> Client:
    guest = Client(FileServer(share, readonly=True, mapper=mapper))
    guest.init()
    return guest


def test_nothing_changes_whatever_is_asked(share: Path) -> None:
    # Not of symbolic links: nobody can read one and leave its time alone.
    paths = [share, *(path for path in share.rglob("*") if not path.is_symlink())]
    for path in paths:
        os.utime(path, (OLD, OLD + 5))  # old enough for relatime to tell of a reading
    backend = HostWindowBackend()
    with DaxMapper(1 << 40, 4 * SLOT, backend, readonly=True) as mapper:
        times = read_times(paths)
        guest = served(share, mapper)
        file, fh = look_at_everything(guest, mapper)
        answers = changes(guest, file, fh)
        assert read_times(paths) == times, "when it was read last, too"
        assert answers.pop("write") == "EBADF", "nothing is open to be written"
        assert set(answers.values()) == {"EROFS"}, answers
        before = tree(share)
        changes(guest, file, fh)
        look_at_everything(guest, mapper)
        assert tree(share) == before
        assert [live.writable for live in mapper] == [False]
    backend.release()


@needs_root
def test_overlayfs_copies_nothing(tmp_path: Path) -> None:
    skip_without_mounts()
    run_in_child(nothing_copied, "host-window", tmp_path)


def nothing_copied(rig: Rig) -> None:
    unshare_mounts()
    (base := rig.file().path.parent / "overlay").mkdir()
    mount("tmpfs", base)
    lower, upper, work, share = (base / name for name in ("lower", "upper", "work", "share"))
    for directory in (lower / "dir", upper, work, share):
        directory.mkdir(parents=True)
    (lower / "link").symlink_to("target")
    (lower / "file").write_bytes(b"hello" * 1000)
    (lower / "dir" / "file").write_text("in dir")
    mount("overlay", share, f"lowerdir={lower},upperdir={upper},workdir={work}")
    backend = HostWindowBackend()
    with DaxMapper(1 << 40, 4 * SLOT, backend, readonly=True) as mapper:
        guest = served(share, mapper)
        file, fh = look_at_everything(guest, mapper)
        changes(guest, file, fh)
        assert list(upper.rglob("*")) == []
    backend.release()
    with host_window(1 << 40, 4 * SLOT) as mapper:
        guest = Client(FileServer(share, mapper=mapper))
        guest.init()
        look_at_everything(guest, mapper)
        window = struct.pack("<5Q", NO_HANDLE, 0, SLOT, READ_WRITE, 4 * SLOT)
        assert errno_of(guest.ask, Op.SETUPMAPPING, guest.walk(b"file"), window) == "EINVAL"
        assert list(upper.rglob("*")) == [], "nor to read, nor for a mapping that can't be"
