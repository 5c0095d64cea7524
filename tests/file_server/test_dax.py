"""SETUPMAPPING and REMOVEMAPPING through a file server: from a request to the bytes in the window."""

import errno
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daxmap import DaxMapper, FileServer, HostWindowBackend, WindowLayout
from daxmap.fuse import FUSE_ATTR_DAX, FUSE_HAS_INODE_DAX, FUSE_INIT_EXT, FUSE_MAP_ALIGNMENT, InitOut
from support.children import run_in_child
from support.fuse_client import ROOT, SLOT, Client, Op, errno_of
from support.host import PAGE, descriptors
from support.mounts import mount_overlay, skip_without_mounts, unshare_mounts
from support.rig import Rig

# include/uapi/linux/fuse.h
AUTO_INVAL_DATA = 1 << 12
EXPLICIT_INVAL_DATA = 1 << 25
FOPEN_KEEP_CACHE = 1 << 1


def shown(mapper: DaxMapper, offset: int, length: int) -> bytes:
    return mapper.read(mapper.base + offset, length)


def test_guest_reads_writes_and_removes(directory: Path, mapper: DaxMapper, server: FileServer, guest: Client) -> None:
    (directory / "file").write_bytes(b"from the host" + bytes(PAGE))
    nodeid = guest.lookup(b"file").nodeid
    guest.map(nodeid, SLOT)
    assert shown(mapper, SLOT, 13) == b"from the host"
    guest.map(nodeid, SLOT, writable=True)
    assert (mapper.stats().setup_count, mapper.stats().upgrade_count) == (1, 1)
    mapper.write(mapper.base + SLOT, b"by the guest!")
    assert (directory / "file").read_bytes()[:13] == b"by the guest!"
    guest.unmap((0, 2 * SLOT))
    assert len(mapper) == 0
    assert str(server.status()).startswith("DAX is used: SETUPMAPPING requests that succeeded: 2")


def test_growth_shows_through_the_old_mapping(directory: Path, mapper: DaxMapper, guest: Client) -> None:
    (directory / "file").write_bytes(b"short")
    nodeid = guest.lookup(b"file").nodeid
    guest.map(nodeid, 0)
    fh = guest.open(nodeid, os.O_WRONLY)
    assert guest.write(nodeid, fh, b"grown", 3 * PAGE) == 5
    assert shown(mapper, 3 * PAGE, 5) == b"grown"
    assert guest.getattr(nodeid).size == 3 * PAGE + 5


@pytest.mark.parametrize(
    ("offered", "has_pages"),
    [(FUSE_MAP_ALIGNMENT, False), (FUSE_MAP_ALIGNMENT | FUSE_INIT_EXT | FUSE_HAS_INODE_DAX, True), (0, True)],
    ids=["dax=always", "dax=inode", "dax=never"],
)
def test_guest_that_maps_all_files_is_to_drop_none(server: FileServer, offered: int, *, has_pages: bool) -> None:
    guest = Client(server)
    told = InitOut.parse(guest.init(AUTO_INVAL_DATA | EXPLICIT_INVAL_DATA | offered))
    assert told.flags & (AUTO_INVAL_DATA | EXPLICIT_INVAL_DATA) == (
        AUTO_INVAL_DATA if has_pages else EXPLICIT_INVAL_DATA
    )
    made, _ = guest.create(b"file")
    opened = guest.ask(Op.OPEN, made.nodeid, bytes(8))
    created = guest.ask(Op.CREATE, ROOT, struct.pack("<4I", os.O_RDWR | os.O_CREAT, 0o100644, 0, 0) + b"file\0")
    for flags in (opened[8:12], created[-8:-4]):
        assert int.from_bytes(flags, "little") == (0 if has_pages else FOPEN_KEEP_CACHE)


def test_guest_that_knows_no_other_way_drops_pages(server: FileServer) -> None:
    told = InitOut.parse(Client(server).init(AUTO_INVAL_DATA | FUSE_MAP_ALIGNMENT))
    assert told.flags & (AUTO_INVAL_DATA | EXPLICIT_INVAL_DATA) == AUTO_INVAL_DATA


def test_handle_that_is_named_is_mapped(directory: Path, mapper: DaxMapper, guest: Client) -> None:
    (directory / "file").write_bytes(b"content")
    nodeid = guest.lookup(b"file").nodeid
    fh = guest.open(nodeid)
    (directory / "file").unlink()
    guest.ask(Op.SETUPMAPPING, nodeid, struct.pack("<QQQQQ", fh, 0, SLOT, 2, 0))
    assert shown(mapper, 0, 7) == b"content"
    for other in (fh + 1, 0):
        assert errno_of(guest.ask, Op.SETUPMAPPING, nodeid, struct.pack("<QQQQQ", other, 0, SLOT, 2, 0)) == "EBADF"


def test_what_is_no_regular_file_is_not_mapped(directory: Path, mapper: DaxMapper, guest: Client) -> None:
    (directory / "directory").mkdir()
    os.mkfifo(directory / "fifo")
    (directory / "link").symlink_to("/etc/passwd")
    for name in ("directory", "fifo", "link"):
        nodeid = guest.lookup(os.fsencode(name)).nodeid
        for writable in (False, True):
            assert errno_of(guest.map, nodeid, 0, writable=writable) == "ENODEV"
    assert errno_of(guest.map, ROOT, 0) == "ENODEV"
    assert errno_of(guest.map, 99, 0) == "EBADF"
    assert len(mapper) == 0


def test_mapped_again_and_again_a_file_is_opened_once(directory: Path, guest: Client) -> None:
    (directory / "file").write_bytes(b"content")
    nodeid = guest.lookup(b"file").nodeid
    guest.map(nodeid, 0)
    before = descriptors()
    for _ in range(10):
        guest.unmap((0, SLOT))
        guest.map(nodeid, 0)
    assert descriptors() == before


def test_forgotten_file_keeps_its_mapping_and_no_descriptor(directory: Path, mapper: DaxMapper, guest: Client) -> None:
    before = len(descriptors())
    (directory / "file").write_bytes(b"content")
    nodeid = guest.lookup(b"file").nodeid
    guest.map(nodeid, 0, writable=True)
    guest.forget(nodeid)
    assert len(descriptors()) == before
    assert shown(mapper, 0, 7) == b"content"
    assert errno_of(guest.map, nodeid, SLOT) == "EBADF"


def test_guest_that_starts_or_leaves_has_nothing(directory: Path, mapper: DaxMapper, guest: Client) -> None:
    (directory / "file").write_bytes(b"content")
    leaves: list[Callable[[], object]] = [lambda: guest.ask(Op.DESTROY), guest.init]
    for leave in leaves:
        nodeid = guest.lookup(b"file").nodeid
        fh = guest.open(nodeid)
        guest.map(nodeid, 0)
        leave()
        assert len(mapper) == 0
        assert errno_of(guest.getattr, nodeid) == "EBADF"
        assert errno_of(guest.read, nodeid, fh, 7) == "EBADF"
    assert guest.send(guest.request(Op.FORGET, 2, struct.pack("<Q", 1))) is None


@pytest.fixture
def readonly(directory: Path) -> Iterator[Client]:
    (directory / "file").write_bytes(b"content")
    backend = HostWindowBackend()
    with DaxMapper(0, SLOT, backend, readonly=True) as mapper:
        guest = Client(FileServer(directory, mapper=mapper, readonly=True))
        guest.init()
        yield guest
    backend.release()


def test_read_only_share_maps_for_reading(readonly: Client) -> None:
    nodeid = readonly.lookup(b"file").nodeid
    readonly.map(nodeid, 0)
    assert errno_of(readonly.map, nodeid, 0, writable=True) == "EROFS"


def test_read_only_share_needs_a_read_only_mapper(directory: Path, mapper: DaxMapper) -> None:
    with pytest.raises(ValueError, match="a read-only share can't have a writable mapper"):
        FileServer(directory, mapper=mapper, readonly=True)


def test_share_is_read_only_where_its_mapper_is(directory: Path) -> None:
    share = WindowLayout(0, 1 << 30, [("root", 2 << 20, True)])["root"]
    with HostWindowBackend() as backend, DaxMapper.for_share(share, backend) as mapper:
        assert FileServer(directory, mapper=mapper).readonly
        with pytest.raises(ValueError, match="a writable share can't have a read-only mapper"):
            FileServer(directory, mapper=mapper, readonly=False)


def flags_of(reply: bytes) -> tuple[int, int]:
    out = InitOut.parse(reply)
    return out.flags | out.flags2 << 32, out.map_alignment


def test_init_offers_what_the_guest_wants(server: FileServer) -> None:
    guest = Client(server)
    wanted = FUSE_MAP_ALIGNMENT | FUSE_INIT_EXT | FUSE_HAS_INODE_DAX
    flags, alignment = flags_of(guest.init(wanted))
    assert flags & wanted == wanted
    assert 1 << alignment == PAGE
    flags, alignment = flags_of(guest.init(0))
    assert flags & wanted == 0
    assert str(server.status()) == "DAX is not offered: the guest's INIT has no FUSE_MAP_ALIGNMENT"


@pytest.mark.parametrize("dax", ["never", "always"])
def test_share_without_dax(directory: Path, mapper: DaxMapper, dax: str) -> None:
    (directory / "file").write_bytes(b"content")
    share = FileServer(directory, mapper=mapper, dax="never") if dax == "never" else FileServer(directory)
    guest = Client(share)
    assert flags_of(guest.init())[0] & FUSE_MAP_ALIGNMENT == 0
    assert share.status().state == "off"
    entry = guest.lookup(b"file")
    assert entry.attr.flags == 0
    assert errno_of(guest.map, entry.nodeid, 0) == "ENOSYS"
    assert errno_of(guest.unmap, (0, SLOT)) == "ENOSYS"


def test_all_eight_replies_with_attributes_are_marked(directory: Path, mapper: DaxMapper) -> None:
    server = FileServer(directory, mapper=mapper, dax="inode", min_size=2)
    guest = Client(server)
    guest.init()
    (directory / "large").write_bytes(b"large")
    (directory / "small").write_bytes(b"s")
    large = guest.lookup(b"large")
    marked = {
        "LOOKUP": large.attr,
        "GETATTR": guest.getattr(large.nodeid),
        "SETATTR": guest.setattr(large.nodeid, mode=0o600),
        "LINK": guest.link(large.nodeid, b"another").attr,
        "READDIRPLUS": next(
            entry.entry.attr
            for entry in guest.readdir(ROOT, guest.opendir(), plus=True)
            if entry.name == b"large" and entry.entry
        ),
    }
    small = guest.lookup(b"small")
    unmarked = {
        "LOOKUP": small.attr,
        "GETATTR": guest.getattr(small.nodeid),
        "MKDIR": guest.mkdir(b"directory").attr,
        "SYMLINK": guest.symlink(b"link", b"a target of more than two bytes").attr,
        "MKNOD": guest.mknod(b"node", 0o100644).attr,
        "CREATE": guest.create(b"created")[0].attr,
    }
    assert {name: attr.flags for name, attr in marked.items()} == dict.fromkeys(marked, FUSE_ATTR_DAX)
    assert {name: attr.flags for name, attr in unmarked.items()} == dict.fromkeys(unmarked, 0)
    everything = Client(FileServer(directory, mapper=mapper))
    everything.init()
    assert everything.create(b"new")[0].attr.flags == everything.mknod(b"newer", 0o100644).attr.flags == FUSE_ATTR_DAX


def test_errno_of_the_mapper_reaches_the_guest_and_the_status(
    directory: Path, server: FileServer, guest: Client
) -> None:
    (directory / "file").write_bytes(b"content")
    nodeid = guest.lookup(b"file").nodeid
    assert errno_of(guest.map, nodeid, 4 * SLOT) == "EINVAL"
    assert errno_of(guest.map, nodeid, 1) == "EINVAL"
    assert errno_of(guest.ask, Op.SETUPMAPPING, nodeid, bytes(39)) == "EINVAL"
    assert server.status().state == "refused"
    assert dict(server.status().refused) == {errno.EINVAL: 3}


class Refuses:
    """A backend of a VMM that has no memory to spare."""

    def map(self, *_arguments: object) -> None:
        raise OSError(12, "no memory")

    def unmap(self, *_arguments: object) -> None:
        pass


class Interrupted(Refuses):
    """A backend that Ctrl-C reaches."""

    def map(self, *_arguments: object) -> None:
        raise KeyboardInterrupt


def test_errno_that_a_guest_would_repeat_is_told_as_another(directory: Path) -> None:
    (directory / "file").write_bytes(b"content")
    with DaxMapper(0, SLOT, Refuses()) as mapper:
        guest = Client(FileServer(directory, mapper=mapper))
        guest.init()
        assert errno_of(guest.map, guest.lookup(b"file").nodeid, 0) == "ENOSPC"


def test_interrupt_in_a_backend_is_raised(directory: Path) -> None:
    (directory / "file").write_bytes(b"content")
    with DaxMapper(0, SLOT, Interrupted()) as mapper:
        guest = Client(FileServer(directory, mapper=mapper))
        guest.init()
        nodeid = guest.lookup(b"file").nodeid
        with pytest.raises(KeyboardInterrupt):
            guest.map(nodeid, 0)
        assert guest.lookup(b"file").nodeid == nodeid, "the server goes on"


def test_mapper_that_is_closed_is_an_errno(directory: Path, mapper: DaxMapper, guest: Client) -> None:
    (directory / "file").write_bytes(b"content")
    nodeid = guest.lookup(b"file").nodeid
    mapper.close()
    assert errno_of(guest.map, nodeid, 0) == "ENODEV"
    assert guest.read(nodeid, guest.open(nodeid), 7) == b"content"
    guest.init()
    assert guest.lookup(b"file").attr.size == 7


def test_directory_is_read_as_no_file(directory: Path, guest: Client) -> None:
    (directory / "directory").mkdir()
    nodeid = guest.lookup(b"directory").nodeid
    assert errno_of(guest.open, nodeid) == "EISDIR"
    assert "EIO" not in {errno_of(guest.open, nodeid, flags) for flags in (os.O_WRONLY, os.O_RDWR)}


def test_file_that_is_copied_up_is_mapped_anew(tmp_path: Path) -> None:
    skip_without_mounts()
    run_in_child(copied_up, "host-window", tmp_path)


def copied_up(rig: Rig) -> None:
    """On overlayfs, the guest maps a file, writes it through another way, and sees what it wrote."""
    unshare_mounts()
    merged = mount_overlay(rig.file().path.parent / "overlay", {"file": b"old " * (PAGE // 4)})
    mapper = rig.open(4 * SLOT).mapper
    guest = Client(FileServer(merged, mapper=mapper))
    guest.init()
    nodeid = guest.lookup(b"file").nodeid
    guest.map(nodeid, 0)
    assert rig.peek(mapper, 0, 4) == b"old "
    fh = guest.open(nodeid, os.O_WRONLY)
    assert guest.write(nodeid, fh, b"new ", 0) == 4
    assert guest.write(nodeid, fh, b"more", PAGE) == 4
    assert (rig.peek(mapper, 0, 4), rig.peek(mapper, PAGE, 4)) == (b"new ", b"more")
    assert guest.lookup(b"file").nodeid == nodeid
    guest.map(nodeid, SLOT)
    assert rig.peek(mapper, SLOT, 4) == b"new ", "by a descriptor that was opened after the copying"
    mapper.reset()


def test_file_that_the_guest_has_open_is_mapped_whatever_its_mode(directory: Path, mapper: DaxMapper) -> None:
    """For a server that is not root's: the guest made the file, and then took all rights away."""
    directory.chmod(0o777)
    guest = Client(FileServer(directory, mapper=mapper))
    guest.init()
    user = 65_534 if os.geteuid() == 0 else os.geteuid()
    os.seteuid(user)  # of all threads, that which makes files too
    try:
        entry, fh = guest.create(b"file")
        guest.write(entry.nodeid, fh, b"content")
        guest.setattr(entry.nodeid, mode=0)
        guest.map(entry.nodeid, 0, writable=True)
        assert shown(mapper, 0, 7) == b"content"
        guest.unmap((0, SLOT))
        guest.release(entry.nodeid, fh)
        assert errno_of(guest.map, entry.nodeid, 0) == "EACCES"
    finally:
        if user != os.getuid():
            os.seteuid(0)
