"""A guest that does what it is told: its system calls, loads and stores, one at a time.

Names, arguments and errors are those of the modules os and mmap: a call that fails in the guest is an OSError here.
"""

import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from emulation.processes import GoneError, HangError, Process

PAGE = 4096
AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_EACCESS = 0x200
AT_STATX_FORCE_SYNC = 0x2000
STATX_ATTR_DAX = 0x0020_0000
MS_SYNC = 4
PROT_READ, PROT_WRITE = 1, 2
MAP_SHARED, MAP_PRIVATE, MAP_ANONYMOUS = 1, 2, 0x20
MNT_DETACH = 2
_POWER_OFF = (0xFEE1DEAD, 672274793, 0x4321FEDC)
_LIMIT = 60 * int(os.environ.get("PATIENCE", "1"))  # seconds for one command
_BUFFER = 1 << 20

Argument = int | str | bytes


class GuestFaultError(Exception):
    """An access got a signal."""


@dataclass(frozen=True)
class Stat:
    """What statx says, as far as anyone asks."""

    mode: int
    links: int
    uid: int
    gid: int
    inode: int
    size: int
    blocks: int
    is_dax: bool
    mtime_ns: int
    atime_ns: int


class Guest:
    """The agent in the guest, at the other end of a serial line."""

    def __init__(self, qemu: Process) -> None:
        self._qemu = qemu
        self._buffer = 0
        self._login = 0, 0
        self._lost: GoneError | HangError | None = None

    def wait_until_ready(self, seconds: float) -> None:
        """Wait for the agent's first word."""
        deadline = time.monotonic() + seconds
        while self._qemu.line(deadline) != "ready":
            pass
        self._buffer = self.mmap(-1, _BUFFER, PROT_READ | PROT_WRITE, flags=MAP_PRIVATE | MAP_ANONYMOUS)

    def command(self, line: str) -> str:
        """Send a command of agent.c, and take the result out of its answer."""
        if self._lost is not None:
            raise self._lost  # no answer would be to this command
        try:
            self._qemu.write(line)
            kind, _, result = self._qemu.line(time.monotonic() + _LIMIT).partition(" ")
        except (GoneError, HangError) as error:
            self._lost = type(error)(f"{error}, told to {line}")
            raise self._lost from None
        if kind == "!":
            raise OSError(int(result), os.strerror(int(result)), line)
        if kind == "~":
            raise GuestFaultError(f"signal {result} at {line}")
        assert kind == "=", f"{line}: the agent says {kind} {result}"
        return result

    def call(self, name: str, *arguments: Argument) -> int:
        """A system call."""
        return int(self.command(" ".join(["call", name, *map(_encoded, arguments)])))

    def shell(self, script: str) -> str:
        """The output of a script of busybox's shell, which must succeed."""
        status, _, output = self.command(f"shell {script}").partition(" ")
        text = bytes.fromhex(output).decode(errors="replace")
        assert status == "0", f"{script}: status {status}: {text}"
        return text

    # Memory

    def mmap(self, fd: int, length: int, prot: int = PROT_READ, *, offset: int = 0, flags: int = MAP_SHARED) -> int:
        return self.call("mmap", 0, length, prot, flags, fd, offset)

    def munmap(self, address: int, length: int) -> None:
        self.call("munmap", address, length)

    def load(self, address: int, length: int) -> bytes:
        """At most 4 KiB."""
        return bytes.fromhex(self.command(f"load {address:#x} {length}"))

    def store(self, address: int, content: bytes) -> None:
        """At most 1 KiB or so: it has to fit into a line."""
        self.command(f"store {address:#x} {content.hex()}")

    def crc(self, address: int, length: int) -> int:
        """The CRC-32 of memory, in whole pages."""
        return self.crc_of_visits(address, length // PAGE, 1, length // PAGE)

    def crc_of_visits(self, address: int, pages: int, stride: int, count: int) -> int:
        """The CRC-32 of so many of these pages, one after the other, as the function `visits` says."""
        return int(self.command(f"crc {address:#x} {pages} {stride} {count}"))

    def touch(self, address: int, pages: int, stride: int, count: int) -> float:
        """Seconds that it takes to load a byte of each of so many of these pages, in the order of `visits`."""
        return self._seconds(f"touch {address:#x} {pages} {stride} {count}")

    def read_pages(self, fd: int, pages: int, stride: int, count: int) -> float:
        """The same by pread(2), each page whole."""
        return self._seconds(f"read {fd} {pages} {stride} {count}")

    def read_files(self, folder: str, first: int, count: int) -> float:
        """Seconds that it takes to read so many files of a folder, named by numbers of five digits, by read(2)."""
        return self._seconds(f"files {first} {count} {folder}")

    def _seconds(self, command: str) -> float:
        nanoseconds = int(self.command(command))
        assert nanoseconds > 0, f"{command}: a file could not be read"
        return nanoseconds / 1e9

    def msync(self, address: int, length: int) -> None:
        self.call("msync", address, length, MS_SYNC)

    def upgrade(self, path: str, readers: int) -> int:
        """Store into a page that others read all the time: the wait status of a reader that was wronged, or 0."""
        return int(self.command(f"upgrade {readers} {path}"))

    # Files

    def open(self, path: str, flags: int = os.O_RDONLY, mode: int = 0o644) -> int:
        return self.call("open", path, flags, mode)

    @contextmanager
    def opened(self, path: str, flags: int = os.O_RDONLY, mode: int = 0o644) -> Iterator[int]:
        """A descriptor that is closed at the end."""
        fd = self.open(path, flags, mode)
        try:
            yield fd
        finally:
            self.close(fd)

    @contextmanager
    def mapped(self, path: str, length: int, prot: int = PROT_READ) -> Iterator[int]:
        """The address of a mapping of a file, which is undone at the end."""
        with self.opened(path, os.O_RDWR if prot & PROT_WRITE else os.O_RDONLY) as fd:
            address = self.mmap(fd, length, prot)
        try:
            yield address
        finally:
            self.munmap(address, length)

    def close(self, fd: int) -> None:
        self.call("close", fd)

    def pread(self, fd: int, length: int, offset: int) -> bytes:
        """At most 4 KiB."""
        return self.load(self._buffer, self.call("pread64", fd, self._buffer, length, offset))

    def pread_crc(self, fd: int, length: int) -> int:
        """The CRC-32 of a file's first bytes, up to 1 MiB of whole pages, by read(2)."""
        got = self.call("pread64", fd, self._buffer, length, 0)
        assert got == length, f"{got} bytes of {length}"
        return self.crc(self._buffer, length)

    def pwrite(self, fd: int, content: bytes, offset: int) -> int:
        return self.call("pwrite64", fd, content, len(content), offset)

    def write(self, fd: int, content: bytes) -> int:
        return self.call("write", fd, content, len(content))

    def make(self, path: str, content: bytes = b"") -> None:
        """A new file."""
        with self.opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as fd:
            assert self.write(fd, content) == len(content)

    def contents(self, path: str) -> bytes:
        """At most 4 KiB."""
        with self.opened(path) as fd:
            return self.pread(fd, PAGE, 0)

    def stat(self, path: str) -> Stat:
        """Of a link itself, and asked of the server, whatever the guest has cached."""
        self.call("statx", AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_STATX_FORCE_SYNC, 0xFFF, self._buffer)
        raw = self.load(self._buffer, 256)
        attributes, links, uid, gid, mode = struct.unpack_from("<QIIIH", raw, 8)
        inode, size, blocks = struct.unpack_from("<QQQ", raw, 32)
        atime, mtime = (
            seconds * 10**9 + ns for seconds, ns in (struct.unpack_from("<qI", raw, at) for at in (64, 112))
        )
        is_dax = bool(attributes & STATX_ATTR_DAX)
        return Stat(mode, links, uid, gid, inode, size, blocks, is_dax, mtime, atime)

    def readlink(self, path: str) -> str:
        return self.load(self._buffer, self.call("readlink", path, self._buffer, PAGE)).decode()

    def getxattr(self, path: str, name: str) -> bytes:
        return self.load(self._buffer, self.call("getxattr", path, name, self._buffer, PAGE))

    def listxattr(self, path: str) -> list[str]:
        names = self.load(self._buffer, self.call("listxattr", path, self._buffer, PAGE))
        return names.decode().split("\0")[:-1]

    def listdir(self, path: str) -> list[str]:
        """All names, `.` and `..` too, as getdents64 has them."""
        names: list[str] = []
        with self.opened(path, os.O_RDONLY | os.O_DIRECTORY) as fd:
            while length := self.call("getdents64", fd, self._buffer, PAGE):
                raw, at = self.load(self._buffer, length), 0
                while at < length:
                    (size,) = struct.unpack_from("<H", raw, at + 16)
                    names.append(raw[at + 19 : at + size].split(b"\0")[0].decode())
                    at += size
        return names

    # The system

    def mount(self, tag: str, directory: str, options: str) -> None:
        with self.user(0, 0):
            self.call("mount", tag, directory, "virtiofs", 0, options)

    def unmount(self, directory: str) -> None:
        with self.user(0, 0):
            self.call("umount2", directory, 0)

    def log_in(self, uid: int, gid: int) -> None:
        """From now on files are used as this user, with none of root's rights if it is another."""
        self._become(uid, gid)
        self._login = uid, gid

    @contextmanager
    def user(self, uid: int, gid: int) -> Iterator[None]:
        """The same, for a while."""
        self._become(uid, gid)
        try:
            yield
        finally:
            self._become(*self._login)

    def _become(self, uid: int, gid: int) -> None:
        self.call("setresuid", -1, 0, -1)  # by way of root, who may become anyone
        self.call("setresgid", -1, gid, -1)
        self.call("setresuid", -1, uid, -1)

    def forget_inodes(self) -> None:
        """Have the kernel drop what it caches of files that nobody uses."""
        with self.user(0, 0):
            self.shell("echo 2 >/proc/sys/vm/drop_caches")

    def power_off(self) -> None:
        """Switch it off at once: no file is closed, nothing is unmounted."""
        self._become(0, 0)
        self._qemu.write(" ".join(["call reboot", *map(str, _POWER_OFF), "0"]))


def visits(pages: int, stride: int, count: int) -> Iterator[int]:
    """What `Guest.crc_of_visits` reads, in its order. No page comes twice if pages and stride have no common factor."""
    return (visit * stride % pages for visit in range(count))


def _encoded(argument: Argument) -> str:
    """As agent.c takes it."""
    match argument:
        case int():
            return str(argument)
        case str():
            return f"'{argument}"
        case bytes():
            return f"${argument.hex()}"
