"""What files hold: space, holes, copies, appends, and locks."""

import fcntl
import os
from errno import EAGAIN, EBADF, ENXIO
from struct import pack

from linux_guest.checks.names import folder
from linux_guest.guest import PAGE, PROT_READ, PROT_WRITE
from linux_guest.rig import MIB, Checks, Rig, fails, same, same_bytes

checks = Checks()
READ_WRITE = PROT_READ | PROT_WRITE
FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE = 1, 2
F_OFD_SETLK = 37


@checks
def allocate_space(rig: Rig) -> None:
    path = folder(rig, "fallocate") + "/file"
    rig.guest.make(path)
    host = rig.always.host / "fallocate/file"
    with rig.guest.opened(path, os.O_RDWR) as fd:
        rig.guest.call("fallocate", fd, 0, 0, MIB)
        same((rig.guest.stat(path).size, host.stat().st_size), (MIB, MIB), "sizes")
        assert host.stat().st_blocks * 512 >= MIB, "the host allocated nothing"
        rig.guest.call("fallocate", fd, FALLOC_KEEP_SIZE, MIB, MIB)
        same(rig.guest.stat(path).size, MIB, "size, which is kept")


@checks
def punch_a_hole_under_a_mapping(rig: Rig) -> None:
    content = rig.always.fill("punched", 4 * PAGE)
    path = rig.always.path("punched")
    with rig.guest.mapped(path, 4 * PAGE) as address, rig.guest.opened(path, os.O_RDWR) as fd:
        same_bytes(rig.guest.load(address + PAGE, 8), content[PAGE : PAGE + 8], "before")
        rig.guest.call("fallocate", fd, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, PAGE, 2 * PAGE)
        for page in range(4):
            expected = bytes(PAGE) if page in (1, 2) else content[page * PAGE : (page + 1) * PAGE]
            same_bytes(rig.guest.load(address + page * PAGE, PAGE), expected, f"page {page}")


@checks
def seek_data_and_holes(rig: Rig) -> None:
    path = folder(rig, "seek") + "/file"
    rig.guest.make(path)
    with rig.guest.opened(path, os.O_RDWR) as fd:
        rig.guest.pwrite(fd, b"data", MIB)
        rig.guest.call("ftruncate", fd, 2 * MIB)
        host = os.open(rig.always.host / "seek/file", os.O_RDONLY)
        try:
            for whence, offset in ((os.SEEK_DATA, 0), (os.SEEK_HOLE, 0), (os.SEEK_HOLE, MIB), (os.SEEK_END, 0)):
                expected = os.lseek(host, offset, whence)
                same(rig.guest.call("lseek", fd, offset, whence), expected, f"lseek({offset}, {whence})")
        finally:
            os.close(host)
        with fails(ENXIO):
            rig.guest.call("lseek", fd, 2 * MIB, os.SEEK_DATA)


@checks
def copy_a_range(rig: Rig) -> None:
    content = rig.always.fill("copied", 3 * PAGE + 5)
    target = rig.always.path("copy")
    rig.guest.make(target, b"old")
    with rig.guest.mapped(target, 4 * PAGE) as address:
        same_bytes(rig.guest.load(address, 4), b"old\0", "before")
        with rig.guest.opened(rig.always.path("copied")) as source, rig.guest.opened(target, os.O_RDWR) as fd:
            copied = rig.guest.call("copy_file_range", source, pack("<q", 5), fd, pack("<q", 3), 3 * PAGE, 0)
            same(copied, 3 * PAGE, "bytes copied")
            same_bytes(rig.guest.load(address, PAGE), b"old" + content[5 : PAGE + 2], "through a mapping of the copy")
    same_bytes((rig.always.host / "copy").read_bytes(), b"old" + content[5:], "the host's file")


@checks
def copy_from_a_mapping(rig: Rig) -> None:
    content = bytearray(rig.always.fill("stored-into", 2 * PAGE))
    rig.guest.make(rig.always.path("copy-of-stores"))
    path = rig.always.path("stored-into")
    with rig.guest.mapped(path, 2 * PAGE, READ_WRITE) as address:
        rig.guest.store(address + 100, b"stored!!")
        content[100:108] = b"stored!!"
        with rig.guest.opened(path) as source, rig.guest.opened(rig.always.path("copy-of-stores"), os.O_WRONLY) as fd:
            same(rig.guest.call("copy_file_range", source, 0, fd, 0, 2 * PAGE, 0), 2 * PAGE, "bytes copied")
    same_bytes((rig.always.host / "copy-of-stores").read_bytes(), content, "the copy")


@checks
def appends(rig: Rig) -> None:
    path = folder(rig, "append") + "/file"
    rig.guest.make(path, b"one ")
    with (
        rig.guest.opened(path, os.O_WRONLY | os.O_APPEND) as first,
        rig.guest.opened(path, os.O_WRONLY | os.O_APPEND) as second,
    ):
        rig.guest.write(first, b"two ")
        rig.guest.write(second, b"three ")
        rig.guest.call("lseek", first, 0, os.SEEK_SET)
        rig.guest.write(first, b"four")
    same_bytes((rig.always.host / "append/file").read_bytes(), b"one two three four", "the host's file")


@checks
def descriptors_keep_their_access(rig: Rig) -> None:
    path = folder(rig, "descriptors") + "/file"
    rig.guest.make(path, b"content")
    with rig.guest.opened(path) as fd, fails(EBADF):
        rig.guest.write(fd, b"x")
    with rig.guest.opened(path, os.O_WRONLY) as fd, fails(EBADF):
        rig.guest.pread(fd, 8, 0)


@checks
def locks_of_files(rig: Rig) -> None:
    path = folder(rig, "flock") + "/file"
    rig.guest.make(path)
    with rig.guest.opened(path, os.O_RDWR) as first, rig.guest.opened(path, os.O_RDWR) as second:
        rig.guest.call("flock", first, fcntl.LOCK_EX)
        with fails(EAGAIN):
            rig.guest.call("flock", second, fcntl.LOCK_SH | fcntl.LOCK_NB)
        rig.guest.call("flock", first, fcntl.LOCK_UN)
        rig.guest.call("flock", second, fcntl.LOCK_SH | fcntl.LOCK_NB)


@checks
def locks_of_ranges(rig: Rig) -> None:
    path = folder(rig, "locks") + "/file"
    rig.guest.make(path)

    def lock(kind: int, start: int, length: int) -> bytes:
        return pack("<hhxxxxqqixxxx", kind, os.SEEK_SET, start, length, 0)  # struct flock

    # A process has its own locks and those of its open files: these two stand in each other's way, like two processes.
    with rig.guest.opened(path, os.O_RDWR) as first, rig.guest.opened(path, os.O_RDWR) as second:
        rig.guest.call("fcntl", first, fcntl.F_SETLK, lock(fcntl.F_WRLCK, 0, 100))
        with fails(EAGAIN):
            rig.guest.call("fcntl", second, F_OFD_SETLK, lock(fcntl.F_RDLCK, 99, 10))
        rig.guest.call("fcntl", second, F_OFD_SETLK, lock(fcntl.F_WRLCK, 100, 10))
        rig.guest.call("fcntl", first, fcntl.F_SETLK, lock(fcntl.F_UNLCK, 0, 0))
        rig.guest.call("fcntl", second, F_OFD_SETLK, lock(fcntl.F_WRLCK, 0, 100))


@checks
def size_and_space_of_the_file_system(rig: Rig) -> None:
    host = os.statvfs(rig.always.host)
    lines = rig.guest.shell(f"stat -f -c '%s %b %l' {rig.always.mount_point}").split()
    same([int(word) for word in lines[1:]], [host.f_blocks, host.f_namemax], "blocks, length of names")
