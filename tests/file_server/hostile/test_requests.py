"""Requests that break the format: a well-formed error or nothing, nothing done, nothing opened."""

import errno
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from daxmap import DaxMapper, FileServer, HostWindowBackend
from support.fuse_client import ROOT, SILENT, Client, Op, checked, errno_of
from support.walk_tree import tree

Serve = Callable[..., Client]
MOST = 2**64 - 1


def bodies(file: int, fh: int, dirfh: int) -> list[tuple[Op, int, bytes]]:
    """A whole request of each opcode that does something."""
    name, other = b"made\0", b"other\0"
    data = struct.pack("<QQIIQII", fh, 0, 100, 0, 0, 0, 0)
    listing = struct.pack("<QQIIQII", dirfh, 0, 4096, 0, 0, 0, 0)
    return [
        (Op.LOOKUP, ROOT, b"file\0"),
        (Op.GETATTR, file, struct.pack("<IIQ", 1, 0, fh)),
        (Op.SETATTR, file, struct.pack("<IIQQQQQQ8I", 1 | 64, 0, fh, *[0] * 5, 0, 0, 0, 0o600, *[0] * 4)),
        (Op.SYMLINK, ROOT, name + b"target\0"),
        (Op.MKNOD, ROOT, struct.pack("<4I", 0o100600, 0, 0, 0) + name),
        (Op.MKDIR, ROOT, struct.pack("<II", 0o700, 0) + name),
        (Op.UNLINK, ROOT, b"file\0"),
        (Op.RMDIR, ROOT, b"empty\0"),
        (Op.RENAME, ROOT, struct.pack("<Q", ROOT) + b"file\0" + other),
        (Op.RENAME2, ROOT, struct.pack("<QII", ROOT, 0, 0) + b"file\0" + other),
        (Op.LINK, ROOT, struct.pack("<Q", file) + other),
        (Op.OPEN, file, struct.pack("<II", os.O_RDWR, 0)),
        (Op.READ, file, data),
        (Op.WRITE, file, data + b"w" * 100),
        (Op.RELEASE, file, struct.pack("<QIIQ", fh, 0, 0, 0)),
        (Op.FSYNC, file, struct.pack("<QII", fh, 1, 0)),
        (Op.SETXATTR, file, struct.pack("<II", 5, 0) + b"user.new\0value"),
        (Op.GETXATTR, file, struct.pack("<II", 100, 0) + b"user.some\0"),
        (Op.LISTXATTR, file, struct.pack("<II", 100, 0)),
        (Op.REMOVEXATTR, file, b"user.some\0"),
        (Op.FLUSH, file, struct.pack("<QIIQ", fh, 0, 0, 0)),
        (Op.INIT, 0, struct.pack("<5I44x", 7, 41, 1 << 17, MOST & 0xFFFF_FFFF, 0)),
        (Op.OPENDIR, ROOT, struct.pack("<II", 0, 0)),
        (Op.READDIR, ROOT, listing),
        (Op.READDIRPLUS, ROOT, listing),
        (Op.RELEASEDIR, ROOT, struct.pack("<QIIQ", dirfh, 0, 0, 0)),
        (Op.FSYNCDIR, ROOT, struct.pack("<QII", dirfh, 1, 0)),
        (Op.CREATE, ROOT, struct.pack("<4I", os.O_RDWR | os.O_CREAT, 0o600, 0, 0) + name),
        (Op.FALLOCATE, file, struct.pack("<QQQII", fh, 0, 10_000, 0, 0)),
        (Op.LSEEK, file, struct.pack("<QQII", fh, 0, os.SEEK_DATA, 0)),
        (Op.SETUPMAPPING, file, struct.pack("<5Q", MOST, 0, 2 << 20, 3, 0)),
        (Op.REMOVEMAPPING, 0, struct.pack("<IQQ", 1, 0, 2 << 20)),
        (Op.FORGET, file, struct.pack("<Q", 1)),
        (Op.BATCH_FORGET, 0, struct.pack("<IIQQ", 1, 0, file, 1)),
    ]


OPCODES = [opcode for opcode, _, _ in bodies(0, 0, 0)]


class Known:
    """A guest that has a file and a directory open."""

    def __init__(self, share: Path) -> None:
        (share / "empty").mkdir()
        self.backend = HostWindowBackend()
        self.mapper = DaxMapper(1 << 40, 8 << 20, self.backend)
        self.guest = Client(FileServer(share, mapper=self.mapper))
        self.guest.init()
        self.file = self.guest.walk(b"file")
        self.fh = self.guest.open(self.file, os.O_RDWR)
        self.dirfh = self.guest.opendir()

    def whole(self, opcode: Op) -> tuple[int, bytes]:
        return next(rest for op, *rest in bodies(self.file, self.fh, self.dirfh) if op is opcode)  # type: ignore[return-value]

    def close(self) -> None:
        del self.guest
        self.mapper.close()
        self.backend.release()


@pytest.mark.parametrize("opcode", OPCODES, ids=lambda opcode: opcode.name)
def test_whole_request_is_answered_and_a_cut_one_never_does_anything(share: Path, opcode: Op) -> None:
    known = Known(share)
    before = tree(share)
    nodeid, body = known.whole(opcode)
    listed = repr(known.guest.server)
    for kept in range(len(body)):
        request = known.guest.request(opcode, nodeid, body[:kept])
        reply = known.guest.send(request)
        if opcode in SILENT:
            assert reply is None
        else:
            assert reply is not None
            assert struct.unpack("<i", reply[4:8])[0] == -errno.EINVAL, f"{kept} bytes of {len(body)}"
    assert tree(share) == before
    assert repr(known.guest.server) == listed, "nothing is known more, nothing less"
    reply = known.guest.send(known.guest.request(opcode, nodeid, body))
    assert (reply is None) == (opcode in SILENT)
    known.close()


@pytest.mark.parametrize("opcode", OPCODES, ids=lambda opcode: opcode.name)
def test_length_that_lies_does_nothing(share: Path, opcode: Op) -> None:
    known = Known(share)
    before = tree(share)
    nodeid, body = known.whole(opcode)
    for length in (0, 16, 39, 40, 40 + len(body) - 1, 40 + len(body) + 1, 2**31, 2**32 - 1):
        request = struct.pack("<I", length) + known.guest.request(opcode, nodeid, body)[4:]
        reply = known.guest.send(request)
        if length == 40 + len(body):
            continue
        assert (reply is None) == (opcode in SILENT)
        assert reply is None or struct.unpack("<i", reply[4:8])[0] == -errno.EINVAL
    assert tree(share) == before
    known.close()


@pytest.mark.parametrize("opcode", [0, 7, 19, *range(31, 35), 37, 39, 40, 47, *range(50, 64), 4096, 2**31, 2**32 - 1])
def test_other_opcodes_are_not_there(guest: Client, opcode: int) -> None:
    for body in (b"", bytes(8), b"\xff" * 200, bytes(70_000)):
        assert errno_of(guest.ask, opcode, ROOT, body) == "ENOSYS"


def test_what_has_no_header_has_no_answer(guest: Client) -> None:
    whole = guest.request(Op.LOOKUP, ROOT, b"file\0")
    for kept in range(40):
        assert guest.server.answer(whole[:kept]) is None


def test_requests_longer_than_any(guest: Client, share: Path) -> None:
    before = tree(share)
    for opcode in OPCODES:
        request = guest.request(opcode, ROOT, b"\xff" * (1 << 20))
        reply = checked(request, guest.server.answer(request))
        assert (reply is None) == (opcode in SILENT)
    assert tree(share) == before


@pytest.mark.parametrize("count", [2, 1000, 65_536, 2**28, 2**32 - 1])
def test_counts_that_lie_forget_nothing(guest: Client, count: int) -> None:
    node = guest.walk(b"file")
    guest.tell(Op.BATCH_FORGET, 0, struct.pack("<IIQQ", count, 0, node, 1))
    assert guest.getattr(node).size == 5000


@pytest.mark.parametrize("times", [2, 2**63, MOST])
def test_forgetting_more_than_was_told_forgets_once(guest: Client, times: int) -> None:
    node = guest.walk(b"file")
    guest.forget(node, times)
    assert errno_of(guest.getattr, node) == "EBADF"
    again = guest.walk(b"file")
    assert again != node, "numbers are not given twice"
    assert guest.getattr(again).size == 5000
    guest.forget(ROOT, times)
    assert guest.getattr(ROOT).nlink


@pytest.mark.parametrize("offset", [2**63 - 1, 2**63, MOST - 4095, MOST])
def test_offsets_that_no_file_has(guest: Client, share: Path, offset: int) -> None:
    node = guest.walk(b"file")
    fh, dirfh = guest.open(node, os.O_RDWR), guest.opendir()
    assert errno_of(guest.read, node, fh, 10, offset) in {"", "EINVAL"}
    assert errno_of(guest.write, node, fh, b"data", offset) in {"EINVAL", "EFBIG"}
    assert errno_of(guest.fallocate, node, fh, offset, 4096) in {"EINVAL", "EFBIG"}
    assert errno_of(guest.fallocate, node, fh, 0, offset) in {"EINVAL", "EFBIG"}
    assert errno_of(guest.lseek, node, fh, offset, os.SEEK_DATA) in {"ENXIO", "EINVAL"}
    assert errno_of(guest.setattr, node, size=offset) in {"EINVAL", "EFBIG"}
    assert errno_of(guest.readdir, ROOT, dirfh, 4096, offset) in {"", "EINVAL"}
    assert (share / "file").stat().st_size == 5000


@pytest.mark.parametrize("size", [99, 101, 0, 2**31, 2**32 - 1])
def test_write_of_another_size_than_its_data_writes_nothing(guest: Client, share: Path, size: int) -> None:
    node = guest.walk(b"file")
    fh = guest.open(node, os.O_RDWR)
    body = struct.pack("<QQIIQII", fh, 0, size, 0, 0, 0, 0) + b"w" * 100
    assert errno_of(guest.ask, Op.WRITE, node, body) == "EINVAL"
    assert (share / "file").read_bytes() == b"hello" * 1000


def test_value_of_another_size_than_said_is_not_set(guest: Client, share: Path) -> None:
    node = guest.walk(b"file")
    for size in (0, 4, 6, 65_537, 2**32 - 1):
        body = struct.pack("<II", size, 0) + b"user.new\0value"
        assert errno_of(guest.ask, Op.SETXATTR, node, body) == "EINVAL"
    assert os.listxattr(share / "file") == []


def test_extensions_and_pieces_of_names_do_nothing(guest: Client, share: Path) -> None:
    before = tree(share)
    request = guest.request(Op.UNLINK, ROOT, b"file\0")
    reply = guest.send(request[:36] + b"\1\0" + request[38:])
    assert reply is not None
    assert struct.unpack("<i", reply[4:8])[0] == -errno.EINVAL
    for body in (b"", b"file", b"\0"):
        assert errno_of(guest.ask, Op.UNLINK, ROOT, body) == "EINVAL"
    for body in (b"file\0", b"file\0other", b"file\0\0", b"\0other\0", b"fileother"):
        assert errno_of(guest.ask, Op.RENAME, ROOT, struct.pack("<Q", ROOT) + body) == "EINVAL"
    assert tree(share) == before


@pytest.mark.parametrize("size", [2**31, 2**32 - 1])
def test_size_without_end_takes_no_memory_without_end(guest: Client, size: int) -> None:
    node = guest.walk(b"file")
    fh, dirfh = guest.open(node), guest.opendir()
    assert guest.read(node, fh, size) == b"hello" * 1000
    assert len(guest.readdir(ROOT, dirfh, size)) == 7
    assert errno_of(guest.getxattr, node, b"user.none", size) in {"ENODATA", "EOPNOTSUPP"}
    assert errno_of(guest.listxattr, node, size) == ""


def test_flood_of_wrong_requests_is_logged_a_few_times(guest: Client, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(1000):
        errno_of(guest.lookup, b"..")
        errno_of(guest.ask, Op.LOOKUP, ROOT, b"\xff\n" * 100)
        errno_of(guest.readdir, ROOT, number)
        guest.send(b"\1\0\0\0" + guest.request(Op.LOOKUP, ROOT, b"file\0")[4:])
    assert 0 < len(caplog.records) < 20
    assert all("\n" not in record.getMessage() for record in caplog.records)
