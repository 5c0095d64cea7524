"""Files that change under a live mapping: their size, their name, their content."""

import os

from linux_guest.guest import PAGE, PROT_READ, PROT_WRITE
from linux_guest.rig import RANGE, Checks, Rig, same, same_bytes

checks = Checks()
READ_WRITE = PROT_READ | PROT_WRITE


@checks
def host_writes_under_a_mapping(rig: Rig) -> None:
    rig.always.fill("host-writes", 2 * PAGE)
    with rig.guest.mapped(rig.always.path("host-writes"), 2 * PAGE) as address:
        rig.guest.load(address, 1)
        with (rig.always.host / "host-writes").open("r+b") as file:
            file.seek(PAGE - 4)
            file.write(b"changed!")
        same_bytes(rig.guest.load(address + PAGE - 4, 8), b"changed!", "by load")


@checks
def growth_by_the_host(rig: Rig) -> None:
    content = rig.always.fill("host-grows", PAGE + 10)
    more = rig.always.fill("more", PAGE)
    path = rig.always.path("host-grows")
    with rig.guest.mapped(path, 4 * PAGE) as address:
        same_bytes(rig.guest.load(address + PAGE, 20), content[PAGE:] + bytes(10), "before")
        with (rig.always.host / "host-grows").open("ab") as file:
            file.write(more)
        # What the host wrote is seen once the file is opened again.
        with rig.guest.opened(path) as fd:
            same(rig.guest.stat(path).size, 2 * PAGE + 10, "size")
            same_bytes(rig.guest.load(address + PAGE, PAGE), (content[PAGE:] + more)[:PAGE], "the page that was cut")
            same_bytes(rig.guest.load(address + 2 * PAGE, 10), more[-10:], "the page that is new")
            same_bytes(rig.guest.pread(fd, PAGE, PAGE), (content[PAGE:] + more)[:PAGE], "by read(2)")


@checks
def growth_by_the_guest(rig: Rig) -> None:
    content = rig.always.fill("guest-grows", PAGE - 6)
    path = rig.always.path("guest-grows")
    with rig.guest.mapped(path, 3 * PAGE) as address, rig.guest.opened(path, os.O_RDWR | os.O_APPEND) as fd:
        same_bytes(rig.guest.load(address + PAGE - 16, 16), content[-10:] + bytes(6), "before")
        rig.guest.write(fd, b"appended")
        same_bytes(rig.guest.load(address + PAGE - 6, 10), b"appended\0\0", "after an append over the end of a page")
        rig.guest.call("ftruncate", fd, 2 * PAGE + 100)
        same_bytes(rig.guest.load(address + 2 * PAGE, 100), bytes(100), "after ftruncate")
        rig.guest.write(fd, b"appended")
        same_bytes(rig.guest.load(address + 2 * PAGE + 98, 12), b"\0\0appended\0\0", "after another append")
    expected = (content + b"appended").ljust(2 * PAGE + 100, b"\0") + b"appended"
    same_bytes((rig.always.host / "guest-grows").read_bytes(), expected, "the host's file")


@checks
def growth_past_a_range(rig: Rig) -> None:
    content = rig.always.fill("grows-far", RANGE)
    path = rig.always.path("grows-far")
    with rig.guest.mapped(path, 2 * RANGE, READ_WRITE) as address, rig.guest.opened(path, os.O_RDWR) as fd:
        rig.guest.load(address, 1)
        rig.guest.pwrite(fd, b"far away", 2 * RANGE - 8)
        same_bytes(rig.guest.load(address + 2 * RANGE - 8, 8), b"far away", "by load")
        rig.guest.store(address + RANGE, b"stored!!")
        rig.guest.msync(address, 2 * RANGE)
    expected = (content + b"stored!!").ljust(2 * RANGE - 8, b"\0") + b"far away"
    same_bytes((rig.always.host / "grows-far").read_bytes(), expected, "the host's file")


@checks
def truncation_by_the_guest(rig: Rig) -> None:
    content = rig.always.fill("guest-cuts", 4 * PAGE)
    path = rig.always.path("guest-cuts")
    with rig.guest.mapped(path, 4 * PAGE, READ_WRITE) as address, rig.guest.opened(path, os.O_RDWR) as fd:
        rig.guest.store(address + 3 * PAGE, b"stored!!")
        rig.guest.call("ftruncate", fd, PAGE + 100)
        same((rig.always.host / "guest-cuts").stat().st_size, PAGE + 100, "the host's size")
        same_bytes(rig.guest.load(address + PAGE, 104), content[PAGE : PAGE + 100] + bytes(4), "what is left")
        rig.guest.call("ftruncate", fd, 3 * PAGE)
        same_bytes(rig.guest.load(address + 2 * PAGE, PAGE), bytes(PAGE), "what has grown again")
        same_bytes(
            rig.guest.load(address + PAGE + 96, 8), content[PAGE + 96 : PAGE + 100] + bytes(4), "where it was cut"
        )
    expected = content[: PAGE + 100].ljust(3 * PAGE, b"\0")
    same_bytes((rig.always.host / "guest-cuts").read_bytes(), expected, "the host's file")


@checks
def truncation_on_open(rig: Rig) -> None:
    rig.always.fill("open-cuts", 3 * PAGE)
    path = rig.always.path("open-cuts")
    with rig.guest.mapped(path, 3 * PAGE) as address:
        rig.guest.load(address, 1)
        with rig.guest.opened(path, os.O_RDWR | os.O_TRUNC) as fd:
            same(rig.guest.stat(path).size, 0, "size")
            rig.guest.write(fd, b"anew")
        same_bytes(rig.guest.load(address, 8), b"anew\0\0\0\0", "through the old mapping")
    same_bytes((rig.always.host / "open-cuts").read_bytes(), b"anew", "the host's file")


@checks
def truncation_by_the_host(rig: Rig) -> None:
    content = rig.always.fill("host-cuts", 4 * PAGE)
    path = rig.always.path("host-cuts")
    with rig.guest.mapped(path, 4 * PAGE) as address:
        rig.guest.load(address, 1)
        os.truncate(rig.always.host / "host-cuts", 2 * PAGE)
        # A load past the end would be the end of an emulator, and so of the run. Who looks at the size makes none.
        with rig.guest.opened(path) as fd:
            same(rig.guest.stat(path).size, 2 * PAGE, "size")
            same_bytes(rig.guest.load(address + PAGE, PAGE), content[PAGE : 2 * PAGE], "by load")
            same_bytes(rig.guest.pread(fd, PAGE, PAGE), content[PAGE : 2 * PAGE], "by read(2)")
            same_bytes(rig.guest.pread(fd, PAGE, 2 * PAGE), b"", "by read(2) at the end")


@checks
def rename_under_a_mapping(rig: Rig) -> None:
    content = rig.always.fill("before", 2 * PAGE)
    with rig.guest.mapped(rig.always.path("before"), 2 * PAGE, READ_WRITE) as address:
        rig.guest.load(address, 1)
        rig.guest.call("rename", rig.always.path("before"), rig.always.path("after"))
        same_bytes(rig.guest.load(address + PAGE, 16), content[PAGE : PAGE + 16], "by load")
        rig.guest.store(address, b"stored!!")
        rig.guest.msync(address, PAGE)
    same_bytes((rig.always.host / "after").read_bytes(), b"stored!!" + content[8:], "the host's file")


@checks
def rename_by_the_host_under_a_mapping(rig: Rig) -> None:
    content = rig.always.fill("here", 2 * PAGE)
    with rig.guest.mapped(rig.always.path("here"), RANGE, READ_WRITE) as address:
        rig.guest.load(address, 1)
        (rig.always.host / "here").rename(rig.always.host / "there")
        rig.guest.store(address, b"stored!!")
        rig.guest.msync(address, PAGE)
    same_bytes((rig.always.host / "there").read_bytes(), b"stored!!" + content[8:], "the host's file")


@checks
def unlink_under_a_mapping(rig: Rig) -> None:
    content = rig.always.fill("unlinked", 2 * PAGE)
    path = rig.always.path("unlinked")
    with rig.guest.mapped(path, 2 * PAGE, READ_WRITE) as address:
        same_bytes(rig.guest.load(address, 16), content[:16], "before")
        rig.guest.call("unlink", path)
        assert not (rig.always.host / "unlinked").exists(), "the host still has the name"
        same_bytes(rig.guest.load(address + PAGE, 16), content[PAGE : PAGE + 16], "a page not yet seen")
        rig.guest.store(address + 8, b"stored!!")
        same_bytes(rig.guest.load(address, 16), content[:8] + b"stored!!", "after a store")
