"""A FUSE file system whose files may refuse to be mapped after the kernel took away what was there before.

The protocol is that of include/uapi/linux/fuse.h, 7.31. A file that is open with FOPEN_DIRECT_IO cannot be mapped
shared, but the kernel asks it (fuse_file_mmap in fs/fuse/file.c) only when a MAP_FIXED has already removed the old
mapping. So a share of such files is a host on which MAP_FIXED fails half way.
"""

import os
import stat
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from errno import ENOENT, ENOSYS
from pathlib import Path

import pytest

from support.host import LIBC, PAGE
from support.mounts import mount, unshare_mounts

MAPPABLE = "mappable"
STUBBORN = "stubborn"
"""Never to be mapped."""
FICKLE = "fickle"
"""To be mapped when it is open for reading only."""
_NAMES = {1: "", 2: MAPPABLE, 3: STUBBORN, 4: FICKLE}
SIZE = 8 * PAGE
CONTENT = b"FUSE" * (SIZE // 4)

_HEADER_IN = struct.Struct("<IIQQ16x")  # len, opcode, unique, nodeid
_HEADER_OUT = struct.Struct("<IiQ")
_ATTR = struct.Struct("<QQQ24x12xIII12x4x")  # ino, size, blocks; mode, nlink, uid
_FOPEN_DIRECT_IO = 1
_FOREVER = 1 << 30


def _attr(node: int) -> bytes:
    mode = stat.S_IFDIR | 0o755 if node == 1 else stat.S_IFREG | 0o666
    return _ATTR.pack(node, SIZE, SIZE // 512, mode, 1, 0)


def _init(_node: int, _body: bytes) -> bytes:
    return struct.pack("<IIIIHHI40x", 7, 31, 1 << 17, 0, 16, 12, 1 << 17)


def _lookup(_node: int, body: bytes) -> bytes | int:
    name = body.rstrip(b"\0").decode()
    node = next((node for node, known in _NAMES.items() if name == known), None)
    return ENOENT if node is None else struct.pack("<QQQQII", node, 0, _FOREVER, _FOREVER, 0, 0) + _attr(node)


def _getattr(node: int, _body: bytes) -> bytes:
    return struct.pack("<QII", _FOREVER, 0, 0) + _attr(node)


def _open(node: int, body: bytes) -> bytes:
    (flags,) = struct.unpack_from("<I", body)
    reads_only = flags & os.O_ACCMODE == os.O_RDONLY
    is_direct = _NAMES[node] == STUBBORN or (_NAMES[node] == FICKLE and not reads_only)
    return struct.pack("<QII", node, _FOPEN_DIRECT_IO if is_direct else 0, 0)


def _read(_node: int, body: bytes) -> bytes:
    offset, length = struct.unpack_from("<8xQI", body)
    return CONTENT[offset : offset + length]


def _release(_node: int, _body: bytes) -> bytes:
    return b""


def _refuse(_node: int, _body: bytes) -> int:
    return ENOSYS


_FORGET, _BATCH_FORGET, _INTERRUPT = 2, 42, 36
_ANSWERS: dict[int, Callable[[int, bytes], bytes | int]] = {
    1: _lookup,
    3: _getattr,
    14: _open,
    15: _read,
    18: _release,
    26: _init,
    27: _release,
}


def _serve(device: int) -> None:
    """Answer until the file system is unmounted."""
    while True:
        try:
            request = os.read(device, 1 << 18)
        except OSError:  # ENODEV: unmounted
            return
        _, opcode, unique, node = _HEADER_IN.unpack_from(request)
        if opcode in {_FORGET, _BATCH_FORGET, _INTERRUPT}:
            continue
        answer = _ANSWERS.get(opcode, _refuse)(node, request[_HEADER_IN.size :])
        error, data = (answer, b"") if isinstance(answer, int) else (0, answer)
        with suppress(FileNotFoundError):  # the one who asked has gone
            os.write(device, _HEADER_OUT.pack(_HEADER_OUT.size + len(data), -error, unique) + data)


@contextmanager
def mounted(directory: Path) -> Iterator[Path]:
    """Serve the file system at a directory, which only this process sees. For a process of the test's own."""
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    unshare_mounts()
    mount("fuse", directory, f"fd={device},rootmode=40000,user_id=0,group_id=0")
    server = threading.Thread(target=_serve, args=[device])
    server.start()
    try:
        yield directory
    finally:
        LIBC.umount2(bytes(directory), 2)  # MNT_DETACH
        server.join()  # it may be answering still
        os.close(device)


def skip_without_fuse() -> None:
    """Skip the test where such a file system cannot be had."""
    if os.geteuid() != 0 or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("only root can mount a FUSE file system of the test's own")
