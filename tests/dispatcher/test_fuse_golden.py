"""The wire against the kernel's own header: gcc lays the structures out, from <linux/fuse.h>."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from daxmap import FUSE_NO_FH, DaxDispatcher, DaxMapper, HostWindowBackend, fuse
from daxmap.fuse import (
    FUSE_HAS_INODE_DAX,
    FUSE_INIT_EXT,
    FUSE_MAP_ALIGNMENT,
    InHeader,
    InitIn,
    InitOut,
    OutHeader,
    RemoveMapping,
    SetupMapping,
)
from support.programs import TIMEOUT

HEADER = Path("/usr/include/linux/fuse.h")

PROGRAM = r"""
#include <linux/fuse.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static void hex(const char *name, const void *data, size_t size) {
    const unsigned char *byte = data;
    printf("\"%s\": \"", name);
    while (size--)
        printf("%02x", *byte++);
    printf("\",\n");
}
#define NUMBER(name) printf("\"" #name "\": %llu,\n", (unsigned long long)(name))

int main(void) {
    struct fuse_in_header in = {.len = 0x01020304, .opcode = 0x05060708, .unique = 0x1112131415161718,
        .nodeid = 0x2122232425262728, .uid = 0x31323334, .gid = 0x35363738, .pid = 0x41424344, .total_extlen = 0x5152};
    struct fuse_out_header out = {.len = 16, .error = -17, .unique = 0x1112131415161718};
    struct fuse_setupmapping_in setup = {.fh = 0x0102030405060708, .foffset = 0x1112131415161718,
        .len = 0x2122232425262728, .flags = 0x3132333435363738, .moffset = 0x4142434445464748};
    struct fuse_init_in init_in = {.major = 7, .minor = 41, .max_readahead = 0x20000,
        .flags = FUSE_MAP_ALIGNMENT | FUSE_INIT_EXT, .flags2 = FUSE_HAS_INODE_DAX >> 32};
    struct fuse_init_out init_out = {.major = 7, .minor = 38, .max_readahead = 0x01020304, .flags = 0x11121314,
        .max_background = 0x2122, .congestion_threshold = 0x3132, .max_write = 0x41424344, .time_gran = 0x51525354,
        .max_pages = 0x6162, .map_alignment = 0x7172, .flags2 = 0x81828384};
    printf("{\n");
    hex("in", &in, sizeof in);
    hex("out", &out, sizeof out);
    hex("setup", &setup, sizeof setup);
    hex("init_in", &init_in, sizeof init_in);
    hex("init_in_old", &init_in, offsetof(struct fuse_init_in, flags2));
    hex("init_out", &init_out, sizeof init_out);

    /* Whole messages: a mapping of node 5, and the removal of two. */
    struct { struct fuse_in_header header; struct fuse_setupmapping_in body; } map = {
        {.len = sizeof map, .opcode = FUSE_SETUPMAPPING, .unique = 77, .nodeid = 5},
        {.fh = -1, .len = 0x200000, .flags = FUSE_SETUPMAPPING_FLAG_READ, .moffset = 0x400000}};
    hex("map", &map, sizeof map);
    map.body.moffset = 0;
    map.body.flags |= FUSE_SETUPMAPPING_FLAG_WRITE;
    map.body.fh = 9;
    hex("map_writable", &map, sizeof map);
    unsigned char unmap[sizeof in + sizeof(struct fuse_removemapping_in) + 2 * sizeof(struct fuse_removemapping_one)];
    struct fuse_in_header header = {.len = sizeof unmap, .opcode = FUSE_REMOVEMAPPING, .unique = 78, .nodeid = 5};
    struct fuse_removemapping_in count = {.count = 2};
    struct fuse_removemapping_one entries[2] = {{.moffset = 0x400000, .len = 0x200000}, {.len = 0x200000}};
    memcpy(unmap, &header, sizeof header);
    memcpy(unmap + sizeof header, &count, sizeof count);
    memcpy(unmap + sizeof header + sizeof count, entries, sizeof entries);
    hex("unmap", unmap, sizeof unmap);
    struct fuse_in_header destroy = {.len = sizeof destroy, .opcode = FUSE_DESTROY, .unique = 79};
    hex("destroy", &destroy, sizeof destroy);
    struct fuse_out_header reply = {.len = sizeof reply, .unique = 77};
    hex("mapped", &reply, sizeof reply);
    reply.unique = 78;
    hex("unmapped", &reply, sizeof reply);

    NUMBER(FUSE_INIT);
    NUMBER(FUSE_DESTROY);
    NUMBER(FUSE_SETUPMAPPING);
    NUMBER(FUSE_REMOVEMAPPING);
    NUMBER(FUSE_SETUPMAPPING_FLAG_READ);
    NUMBER(FUSE_SETUPMAPPING_FLAG_WRITE);
    NUMBER(FUSE_MAP_ALIGNMENT);
    NUMBER(FUSE_INIT_EXT);
    NUMBER(FUSE_HAS_INODE_DAX);
    NUMBER(FUSE_ATTR_DAX);
    printf("\"FUSE_KERNEL_VERSION\": %d}\n", FUSE_KERNEL_VERSION);
}
"""


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    """What the kernel's header says: numbers by name, bytes by name in hex."""
    compiler = shutil.which("gcc")
    if compiler is None or not HEADER.exists():
        pytest.skip(f"the wire is NOT checked against the kernel's header: gcc or {HEADER} is missing")
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory, "golden")
        subprocess.run([compiler, "-x", "c", "-", "-o", program], input=PROGRAM.encode(), check=True, timeout=TIMEOUT)
        values: dict[str, Any] = json.loads(subprocess.check_output([program], timeout=TIMEOUT))
    return {name: bytes.fromhex(value) if isinstance(value, str) else value for name, value in values.items()}


VALUES: dict[str, InHeader | OutHeader | SetupMapping | InitIn | InitOut] = {
    "in": InHeader(
        length=0x01020304,
        opcode=0x05060708,
        unique=0x1112131415161718,
        nodeid=0x2122232425262728,
        uid=0x31323334,
        gid=0x35363738,
        pid=0x41424344,
        total_extlen=0x5152,
    ),
    "out": OutHeader(length=16, error=-17, unique=0x1112131415161718),
    "setup": SetupMapping(
        fh=0x0102030405060708,
        foffset=0x1112131415161718,
        length=0x2122232425262728,
        flags=0x3132333435363738,
        moffset=0x4142434445464748,
    ),
    "init_in": InitIn(
        major=7, minor=41, max_readahead=0x20000, flags=FUSE_MAP_ALIGNMENT | FUSE_INIT_EXT | FUSE_HAS_INODE_DAX
    ),
    "init_out": InitOut(
        major=7,
        minor=38,
        max_readahead=0x01020304,
        flags=0x11121314,
        max_background=0x2122,
        congestion_threshold=0x3132,
        max_write=0x41424344,
        time_gran=0x51525354,
        max_pages=0x6162,
        map_alignment=0x7172,
        flags2=0x81828384,
    ),
}


@pytest.mark.parametrize("name", VALUES)
def test_structures_are_the_kernels(name: str, golden: dict[str, Any]) -> None:
    value = VALUES[name]
    assert value.build() == golden[name]
    assert type(value).parse(golden[name]) == value


def test_an_old_init_is_read_without_its_upper_flags(golden: dict[str, Any]) -> None:
    old = InitIn.parse(golden["init_in_old"])
    assert len(golden["init_in_old"]) == 16
    assert old.flags == FUSE_MAP_ALIGNMENT | FUSE_INIT_EXT
    plain = InitIn(7, 31, 0x20000, FUSE_MAP_ALIGNMENT)
    assert InitIn.parse(plain.build()) == plain
    assert len(plain.build()) == 16


def test_constants_are_the_kernels(golden: dict[str, Any]) -> None:
    numbers = {name: value for name, value in golden.items() if isinstance(value, int)}
    assert len(numbers) == 11
    assert {name: getattr(fuse, name) for name in numbers} == numbers


def test_removals_are_the_kernels(golden: dict[str, Any]) -> None:
    value = RemoveMapping(((0x400000, 0x200000), (0, 0x200000)))
    body = golden["unmap"][InHeader.SIZE :]
    assert value.build() == body
    assert RemoveMapping.parse(body) == value


def test_messages_of_the_kernels_layout_are_obeyed(golden: dict[str, Any]) -> None:
    asked = []
    backend = HostWindowBackend()
    with tempfile.TemporaryFile() as file, DaxMapper(0, 8 << 20, backend) as mapper:

        def resolve(nodeid: int, fh: int | None, writable: bool) -> int:  # noqa: FBT001
            asked.append((nodeid, fh, writable))
            return file.fileno()

        dispatcher = DaxDispatcher(mapper, resolve)
        assert dispatcher.handle(golden["map"]) == golden["mapped"]
        assert dispatcher.handle(golden["map_writable"]) == golden["mapped"]
        assert asked == [(5, None, False), (5, 9, True)]
        assert FUSE_NO_FH == 2**64 - 1
        assert [(m.window_offset, m.length, m.writable) for m in mapper] == [
            (0, 2 << 20, True),
            (4 << 20, 2 << 20, False),
        ]
        assert dispatcher.handle(golden["unmap"]) == golden["unmapped"]
        assert len(mapper) == 0
        dispatcher.handle(golden["map"])
        assert dispatcher.handle(golden["destroy"]) is None
        assert (len(mapper), mapper.stats().swept_count) == (0, 1)
    backend.release()


@pytest.mark.parametrize("structure", [InHeader, OutHeader, SetupMapping, RemoveMapping, InitIn, InitOut])
def test_short_structures_are_refused(
    structure: type[InHeader | OutHeader | SetupMapping | RemoveMapping | InitIn | InitOut],
) -> None:
    for size in (0, 3, 15):
        with pytest.raises(ValueError, match=f"{structure.__name__}.* {size} bytes"):
            structure.parse(bytes(size))
