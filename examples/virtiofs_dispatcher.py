"""The dispatcher of a virtiofs device in Python, with DAX: the least that serves one mount of a Linux guest.

    python examples/virtiofs_dispatcher.py

replays a guest's session (guest_session.py) against it and tells what happens. A device of yours gets its requests from
a virtqueue instead, and its window from `KvmBackend(vm_fd, slot)`.
"""

import errno
import io
import os
import struct
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from daxmap import DaxDispatcher, DaxMapper, HostWindowBackend, WindowLayout, reopen
from daxmap.fuse import FUSE_DESTROY, FUSE_INIT, FUSE_KERNEL_VERSION, InHeader, InitIn, InitOut, OutHeader, reply
from guest_session import SIZES, WINDOW, Load, Request, Step, Store, guest_session

FUSE_LOOKUP, FUSE_FORGET, FUSE_GETATTR, FUSE_OPEN, FUSE_READ, FUSE_WRITE = 1, 2, 3, 14, 15, 16
FUSE_RELEASE, FUSE_FLUSH = 18, 25

_ROOT = 1
_MINOR = 38
_MAX_WRITE = 1 << 20
_ENTRY = struct.Struct("<QQQQII")  # struct fuse_entry_out, up to its attributes
_ATTR_VALID = struct.Struct("<QII")  # struct fuse_attr_out, up to its attributes
_ATTR = struct.Struct("<6Q3I7I")  # struct fuse_attr
_READ = struct.Struct("<QQIIQII")  # struct fuse_read_in, and fuse_write_in too


@dataclass
class Node:
    """An inode that the guest knows, held by an O_PATH descriptor."""

    fd: int
    inode: tuple[int, int]
    lookups: int = 1


class Device:
    """A share: one directory, served to one guest.

    Args:
        directory: What the guest sees as the root of its mount.
        mapper: The share's DAX window.
    """

    def __init__(self, directory: Path, mapper: DaxMapper) -> None:
        self._root = os.open(directory, os.O_PATH)
        self._nodes: dict[int, Node] = {}
        self._numbers: dict[tuple[int, int], int] = {}
        self._handles: dict[int, io.FileIO] = {}
        self._next_node = _ROOT + 1
        self._next_handle = 1
        self.dax = DaxDispatcher(mapper, self._resolve, dax="inode", min_size=4096)
        self._operations: dict[int, Callable[[InHeader, bytes], bytes]] = {
            FUSE_INIT: self._init,
            FUSE_DESTROY: self._destroy,
            FUSE_LOOKUP: self._lookup,
            FUSE_GETATTR: self._getattr,
            FUSE_OPEN: self._open,
            FUSE_READ: self._read,
            FUSE_WRITE: self._write,
            FUSE_FLUSH: lambda _header, _body: b"",
            FUSE_RELEASE: self._release,
        }

    def serve(self, request: bytes) -> bytes:
        """Answers a request; b"" where FUSE has no reply."""
        return self.dax.handle(request) or self.dax.negotiate(request, self._own_reply(request))

    def close(self) -> None:
        """Closes every file."""
        self._forget_all()
        os.close(self._root)

    def _resolve(self, nodeid: int, fh: int | None, writable: bool) -> int | io.FileIO:  # noqa: FBT001
        """Gives the mapper the file of an inode, or of an open handle."""
        return self._handle(fh).fileno() if fh is not None else reopen(self._node(nodeid), writable)

    def _own_reply(self, request: bytes) -> bytes:
        if len(request) < InHeader.SIZE:
            return b""  # nobody to reply to
        header, body = InHeader.parse(request), request[InHeader.SIZE :]
        if header.opcode == FUSE_FORGET:
            self._forget(header.nodeid, int.from_bytes(body[:8], "little"))
            return b""
        operation = self._operations.get(header.opcode)
        if operation is None:
            return reply(header.unique, error=-errno.ENOSYS)
        try:
            return reply(header.unique, operation(header, body))
        except OSError as error:
            return reply(header.unique, error=-(error.errno or errno.EIO))
        except (struct.error, OverflowError):  # the body is short, or an offset over 2**63
            return reply(header.unique, error=-errno.EINVAL)

    def _init(self, _header: InHeader, body: bytes) -> bytes:
        try:
            guest = InitIn.parse(body)
        except ValueError as error:
            raise OSError(errno.EINVAL, str(error)) from None
        self._forget_all()
        return InitOut(FUSE_KERNEL_VERSION, min(guest.minor, _MINOR), max_write=_MAX_WRITE).build()

    def _destroy(self, _header: InHeader, _body: bytes) -> bytes:
        self._forget_all()
        return b""

    def _lookup(self, header: InHeader, body: bytes) -> bytes:
        name = body.removesuffix(b"\0")
        if name in {b"", b".", b".."} or b"/" in name or b"\0" in name:
            raise OSError(errno.EINVAL, "not the name of a directory's entry")
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=self._node(header.nodeid))
        found = os.fstat(fd)
        return _ENTRY.pack(self._number(fd, found), 0, 0, 0, 0, 0) + self._attributes(found)

    def _number(self, fd: int, found: os.stat_result) -> int:
        """The guest's number of an inode: the one it has, or a new one."""
        inode = found.st_dev, found.st_ino
        if inode in self._numbers:
            os.close(fd)
            self._nodes[self._numbers[inode]].lookups += 1
        else:
            self._numbers[inode] = self._next_node
            self._nodes[self._next_node] = Node(fd, inode)
            self._next_node += 1
        return self._numbers[inode]

    def _getattr(self, header: InHeader, _body: bytes) -> bytes:
        return _ATTR_VALID.pack(0, 0, 0) + self._attributes(os.fstat(self._node(header.nodeid)))

    def _attributes(self, found: os.stat_result) -> bytes:
        times = [divmod(ns, 1_000_000_000) for ns in (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns)]
        return _ATTR.pack(
            found.st_ino,
            found.st_size,
            found.st_blocks,
            *(seconds for seconds, _ in times),
            *(nanoseconds for _, nanoseconds in times),
            found.st_mode,
            found.st_nlink,
            found.st_uid,
            found.st_gid,
            found.st_rdev,
            found.st_blksize,
            self.dax.attr_flags(found),
        )

    def _open(self, header: InHeader, body: bytes) -> bytes:
        flags, _ = struct.unpack_from("<II", body)
        writable = flags & os.O_ACCMODE != os.O_RDONLY
        fh, self._next_handle = self._next_handle, self._next_handle + 1
        self._handles[fh] = reopen(self._node(header.nodeid), writable)
        return struct.pack("<QII", fh, 0, 0)

    def _read(self, _header: InHeader, body: bytes) -> bytes:
        fh, offset, size, *_ = _READ.unpack_from(body)
        return os.pread(self._handle(fh).fileno(), min(size, _MAX_WRITE), offset)

    def _write(self, _header: InHeader, body: bytes) -> bytes:
        fh, offset, size, *_ = _READ.unpack_from(body)
        data = body[_READ.size :]
        if len(data) != size:
            raise OSError(errno.EINVAL, "a WRITE whose size is not that of its data")
        return struct.pack("<II", os.pwrite(self._handle(fh).fileno(), data, offset), 0)

    def _release(self, _header: InHeader, body: bytes) -> bytes:
        (fh,) = struct.unpack_from("<Q", body)
        self._handle(fh).close()
        del self._handles[fh]
        return b""

    def _node(self, nodeid: int) -> int:
        if nodeid == _ROOT:
            return self._root
        if nodeid not in self._nodes:
            raise OSError(errno.ENOENT, f"no inode {nodeid}")
        return self._nodes[nodeid].fd

    def _handle(self, fh: int) -> io.FileIO:
        if fh not in self._handles:
            raise OSError(errno.EBADF, f"no handle {fh}")
        return self._handles[fh]

    def _forget(self, nodeid: int, lookups: int) -> None:
        node = self._nodes.get(nodeid)
        if node is None:
            return
        node.lookups -= lookups
        if node.lookups <= 0:
            os.close(node.fd)
            del self._nodes[nodeid], self._numbers[node.inode]

    def _forget_all(self) -> None:
        for nodeid, node in list(self._nodes.items()):
            self._forget(nodeid, node.lookups)
        for file in self._handles.values():
            file.close()
        self._handles.clear()


def replay(steps: Iterable[Step], device: Device, mapper: DaxMapper, directory: Path) -> Iterator[str]:
    """Does what the guest does, and tells it line by line.

    Raises:
        RuntimeError: A reply, or what the window shows, is not what the guest expects.
    """
    for step in steps:
        match step:
            case Request(text, message, expected):
                replied = device.serve(message)
                error = -OutHeader.parse(replied).error if replied else None
                ok = error == expected
                yield f"{text}: {'no reply' if error is None else os.strerror(error) if error else 'done'}"
                if InHeader.parse(message).opcode in {FUSE_INIT, FUSE_DESTROY}:
                    yield f"    {device.dax.status()}"
            case Load(offset, length, name, file_offset):
                seen = mapper.read(mapper.base + offset, length)
                ok = seen == _host_bytes(directory / name, file_offset, length)
                yield f"    the guest loads {length} bytes of {name} from the window"
            case Store(offset, data, name, file_offset):
                mapper.write(mapper.base + offset, data)
                ok = _host_bytes(directory / name, file_offset, len(data)) == data
                yield f"    the guest stores {len(data)} bytes of {name} in the window"
        if not ok:
            raise RuntimeError(f"not what the guest expects: {step}")


def _host_bytes(path: Path, offset: int, length: int) -> bytes:
    with path.open("rb") as file:
        return os.pread(file.fileno(), length, offset)


def main() -> int:
    """Replays the session against a temporary directory."""
    backend = HostWindowBackend()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for file, size in SIZES.items():
            (directory / file).write_bytes(os.urandom(size))
        share = WindowLayout(0, 4 << 30, [("root", WINDOW)]).shares["root"]
        with DaxMapper.for_share(share, backend) as mapper:
            device = Device(directory, mapper)
            for line in replay(guest_session(), device, mapper, directory):
                print(line)
            print(mapper.stats())
            device.close()
    backend.release()
    return 0


if __name__ == "__main__":
    sys.exit(main())
