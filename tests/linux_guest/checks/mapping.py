"""Files in the window: what the guest loads is what the host has, and what it stores arrives there."""

import os
import zlib
from contextlib import ExitStack

from linux_guest.guest import PAGE, PROT_READ, PROT_WRITE, visits
from linux_guest.rig import MIB, RANGE, Checks, Rig, same, same_bytes

checks = Checks()
READ_WRITE = PROT_READ | PROT_WRITE


@checks
def cold_and_warm_reads(rig: Rig) -> None:
    content = rig.always.fill("reads", 3 * MIB)
    before = rig.always.count("setup_count")
    with rig.guest.mapped(rig.always.path("reads"), len(content)) as address:
        same(rig.guest.crc(address, len(content)), zlib.crc32(content), "cold, by load")
        setups = rig.always.count("setup_count")
        assert setups >= before + 2, "the file is not mapped"
        same(rig.guest.crc(address, len(content)), zlib.crc32(content), "warm, by load")
        with rig.guest.opened(rig.always.path("reads")) as fd:
            same(rig.guest.pread_crc(fd, MIB), zlib.crc32(content[:MIB]), "warm, by read(2)")
        same(rig.always.count("setup_count"), setups, "setups after all of it was read again")


@checks
def cold_read_by_system_call(rig: Rig) -> None:
    content = rig.always.fill("read", MIB)
    before = rig.always.count("setup_count")
    with rig.guest.opened(rig.always.path("read")) as fd:
        same(rig.guest.pread_crc(fd, MIB), zlib.crc32(content), "read(2)")
    assert rig.always.count("setup_count") > before, "read(2) did not use the window"


@checks
def last_page_that_the_end_cuts(rig: Rig) -> None:
    content = rig.always.fill("cut", PAGE + 1000)
    with rig.guest.mapped(rig.always.path("cut"), 2 * PAGE) as address:
        same_bytes(rig.guest.load(address + PAGE, PAGE), content[PAGE:] + bytes(PAGE - 1000), "by load")
    with rig.guest.opened(rig.always.path("cut")) as fd:
        same_bytes(rig.guest.pread(fd, PAGE, PAGE), content[PAGE:], "by read(2)")


@checks
def tiny_and_empty_files(rig: Rig) -> None:
    rig.always.fill("empty", 0)
    content = rig.always.fill("tiny", 3)
    with rig.guest.mapped(rig.always.path("tiny"), PAGE) as address:
        same_bytes(rig.guest.load(address, 4), content + b"\0", "by load")
    same_bytes(rig.guest.contents(rig.always.path("tiny")), content, "by read(2)")
    same_bytes(rig.guest.contents(rig.always.path("empty")), b"", "the empty one")


@checks
def stores_reach_the_host(rig: Rig) -> None:
    expected = bytearray(rig.always.fill("stores", 2 * RANGE + PAGE))
    with rig.guest.mapped(rig.always.path("stores"), len(expected), READ_WRITE) as address:
        for at in (0, PAGE - 3, RANGE - 4, 2 * RANGE + 5):
            rig.guest.store(address + at, b"stored!!")
            expected[at : at + 8] = b"stored!!"
        rig.guest.msync(address, len(expected))
        same_bytes((rig.always.host / "stores").read_bytes(), expected, "the host's file")


@checks
def stores_into_the_page_that_the_end_cuts(rig: Rig) -> None:
    expected = bytearray(rig.always.fill("cut-stores", PAGE + 100))
    with rig.guest.mapped(rig.always.path("cut-stores"), 2 * PAGE, READ_WRITE) as address:
        rig.guest.store(address + PAGE + 10, b"stored!!")
        rig.guest.store(address + PAGE + 200, b"past the end: in no file")
        rig.guest.msync(address, 2 * PAGE)
    expected[PAGE + 10 : PAGE + 18] = b"stored!!"
    same_bytes((rig.always.host / "cut-stores").read_bytes(), expected, "the host's file")


@checks
def writes_reach_the_host(rig: Rig) -> None:
    expected = bytearray(rig.always.fill("writes", RANGE + PAGE))
    with rig.guest.opened(rig.always.path("writes"), os.O_RDWR) as fd:
        for at in (0, 4090, RANGE - 3):
            same(rig.guest.pwrite(fd, b"written!", at), 8, "bytes written")
            expected[at : at + 8] = b"written!"
        rig.guest.call("fsync", fd)
        same_bytes((rig.always.host / "writes").read_bytes(), expected, "the host's file")


@checks
def reads_then_first_write(rig: Rig) -> None:
    content = rig.always.fill("upgrade", 4 * PAGE)
    path, before = rig.always.path("upgrade"), rig.always.count("upgrade_count")
    with rig.guest.mapped(path, len(content)) as shown, rig.guest.mapped(path, len(content), READ_WRITE) as address:
        same(rig.guest.crc(shown, len(content)), zlib.crc32(content), "before")
        rig.guest.store(address, b"stored!!")
        same_bytes(rig.guest.load(shown, 16), b"stored!!" + content[8:16], "through the read-only mapping")
        rig.guest.msync(address, PAGE)
    same(rig.always.count("upgrade_count"), before + 1, "upgrades")


@checks
def no_reader_sees_an_upgrade(rig: Rig) -> None:
    for number in range(40):
        rig.always.fill(f"race-{number}", PAGE)
        wronged = rig.guest.upgrade(rig.always.path(f"race-{number}"), readers=2)
        met = {1: "lost the page and found zeros", 3: "found zeros at its first look"}.get(wronged >> 8, "was killed")
        assert wronged == 0, f"a reader of file {number} {met} (wait status {wronged:#x})"


@checks
def large_file_through_a_small_window(rig: Rig) -> None:
    content = rig.always.fill("large", 64 * MIB)
    pages = len(content) // PAGE
    before = rig.always.count("remove_count")
    with rig.guest.mapped(rig.always.path("large"), len(content)) as address:
        # All of them, in 31 rounds through the file; then a few, each in another range than the one before.
        for stride, count in ((31, pages), (5003, 600)):
            expected = 0
            for page in visits(pages, stride, count):
                expected = zlib.crc32(content[page * PAGE : (page + 1) * PAGE], expected)
            same(rig.guest.crc_of_visits(address, pages, stride, count), expected, f"{count} pages")
    removed = rig.always.count("remove_count") - before
    assert removed >= (len(content) - rig.always.window) // RANGE, f"only {removed} ranges were reclaimed"


@checks
def eviction_empties_the_window(rig: Rig) -> None:
    rig.guest.forget_inodes()
    before = rig.inode.server.status()
    content = {f"evict-{number}": rig.inode.fill(f"evict-{number}", PAGE) for number in range(12)}
    with ExitStack() as stack:
        for name, expected in content.items():
            address = stack.enter_context(rig.guest.mapped(rig.inode.path(name), PAGE))
            same_bytes(rig.guest.load(address, PAGE), expected, name)
        full = rig.inode.server.status()
        same(full.count("live_mappings"), before.count("live_mappings") + len(content), "live mappings")
    rig.guest.forget_inodes()
    after = rig.inode.server.status()
    same(after.count("live_mappings"), before.count("live_mappings"), "live mappings after eviction")
    same(after.count("remove_count"), full.count("remove_count") + len(content), "removals")


@checks
def per_inode_dax(rig: Rig) -> None:
    content = rig.inode.fill("inode", RANGE)
    before = rig.inode.count("setup_count")
    with rig.guest.mapped(rig.inode.path("inode"), len(content), READ_WRITE) as address:
        same(rig.guest.crc(address, len(content)), zlib.crc32(content), "content")
        rig.guest.store(address + PAGE, b"stored!!")
        rig.guest.msync(address, len(content))
        assert rig.guest.stat(rig.inode.path("inode")).is_dax, "statx does not say STATX_ATTR_DAX"
    assert rig.inode.count("setup_count") > before, "the file is not mapped"
    same_bytes((rig.inode.host / "inode").read_bytes()[PAGE:][:8], b"stored!!", "the host's file")


@checks
def open_again_under_a_mapping(rig: Rig) -> None:
    content = rig.always.fill("open-again", 2 * RANGE)
    path = rig.always.path("open-again")
    with rig.guest.mapped(path, 2 * RANGE) as address:
        rig.guest.crc(address, 2 * RANGE)
        with rig.guest.opened(path):
            pass
        same(rig.guest.crc(address, 2 * RANGE), zlib.crc32(content), "checksum")
    # Linux 7.3 warns, once, where it drops pages of a file that a process has mapped.
    same(rig.guest.shell("dmesg | grep 'WARNING: fs/dax.c' || true"), "", "what the kernel says")
