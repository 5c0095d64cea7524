"""The mistakes that people are likeliest to make: each ends in an error that says what is wrong, and what to do."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import daxmap
from daxmap import (
    DaxConfig,
    DaxMapper,
    FileServer,
    HostWindowBackend,
    HypervisorBackend,
    KvmBackend,
    ShareConfig,
    WindowLayout,
    reopen,
)
from support.guests import open_vm

MIB = 1 << 20
BASE = 1 << 30
PAGE = os.sysconf("SC_PAGESIZE")
ODD = 16 * 10**6 + 1


@dataclass
class Desk:
    """What a user has: a mapper over 16 MiB at 1 GiB, and a file of two pages, which is mapped at offset 0."""

    mapper: DaxMapper
    backend: HostWindowBackend
    path: Path
    undo: list[Callable[[], object]]

    def opened(self, mode: str) -> Any:  # noqa: ANN401  # a file of any kind
        file = self.path.open(mode, buffering=0) if "b" in mode else self.path.open(mode)
        self.undo.append(file.close)
        return file

    def fd(self, path: str | Path, flags: int) -> int:
        number = os.open(path, flags)
        self.undo.append(lambda: os.close(number))
        return number

    def vm_fd(self) -> int:
        machine = open_vm()
        self.undo.append(machine.close)
        return machine.fd


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    path = tmp_path / "file"
    path.write_bytes(bytes(2 * PAGE))
    with HostWindowBackend() as backend, DaxMapper(BASE, "16MiB", backend) as mapper:
        desk = Desk(mapper, backend, path, [])
        with path.open("rb") as file:
            mapper.map_file(file)
        yield desk
        for close in reversed(desk.undo):
            close()


class OwnHypervisor:
    """A hypervisor as a user writes it."""

    def map(self, host_address: int, guest_address: int, length: int, access: int) -> None: ...
    def unmap(self, guest_address: int, length: int) -> None: ...


class ForgotAccess(OwnHypervisor):
    def map(self, host_address: int, guest_address: int, length: int) -> None: ...  # type: ignore[override]


class Awaited(OwnHypervisor):
    async def unmap(self, guest_address: int, length: int) -> None: ...  # type: ignore[override]


def returns_true(desk: Desk) -> object:
    hypervisor: Any = OwnHypervisor()
    hypervisor.map = lambda *_: True
    with DaxMapper(BASE, MIB, HypervisorBackend(hypervisor)) as mapper:
        return mapper.map_file(desk.opened("rb"))


async def async_resolver(nodeid: int, fh: int | None, writable: bool) -> int: ...  # type: ignore[empty-body]  # noqa: FBT001


def closed_mapper(desk: Desk) -> DaxMapper:
    desk.mapper.close()
    return desk.mapper


def kvm(desk: Desk, base: int, slot: int = 1) -> DaxMapper:
    return DaxMapper(base, 2 * MIB, KvmBackend(desk.vm_fd(), slot))


def device_fd(desk: Desk) -> int:
    desk.vm_fd()  # skips where there is no KVM
    file = Path("/dev/kvm").open("r+b", buffering=0)  # noqa: SIM115
    desk.undo.append(file.close)
    return file.fileno()


Mistake = Callable[[Desk], object]
UNTYPED: Any = daxmap

MISTAKES: dict[str, tuple[Mistake, type[BaseException], str]] = {
    # Backends.
    "a VM as the backend": (lambda d: UNTYPED.DaxMapper(BASE, MIB, d.vm_fd()), TypeError, r"KvmBackend\(vm_fd, slot\)"),
    "a backend without ()": (
        lambda _: UNTYPED.DaxMapper(BASE, MIB, HostWindowBackend),
        TypeError,
        r"is a class; an object of it is wanted: HostWindowBackend\(",
    ),
    "no backend": (lambda _: UNTYPED.DaxMapper(BASE, MIB, None), TypeError, "backend: None; take HostWindowBackend"),
    "a hypervisor as the backend": (
        lambda _: UNTYPED.DaxMapper(BASE, MIB, OwnHypervisor()),
        TypeError,
        r"map of .* does not take the arguments .* give HypervisorBackend",
    ),
    "one backend for two mappers": (
        lambda d: DaxMapper(BASE, MIB, d.backend),
        ValueError,
        "make a new one for each mapper",
    ),
    "a hypervisor's map with an argument too few": (
        lambda _: UNTYPED.HypervisorBackend(ForgotAccess()),
        TypeError,
        "does not take the arguments .*: host_address, guest_address, length, access",
    ),
    "a hypervisor that is awaited": (
        lambda _: UNTYPED.HypervisorBackend(Awaited()),
        TypeError,
        "unmap of .* is a coroutine function: it is called, and never awaited",
    ),
    "a hypervisor's map that returns True": (
        returns_true,
        OSError,
        r"map\(\) returned True, where None or 0 means done",
    ),
    "a window over RAM": (lambda d: kvm(d, MIB), FileExistsError, "put the window above it"),
    "a slot that is in use": (lambda d: kvm(d, BASE, 0), OSError, "the slot may be in use: take another number"),
    "a slot that no VM has": (
        lambda d: KvmBackend(d.vm_fd(), 40000),
        ValueError,
        r"40000 is too large: this VM has slots 0 to \d+",
    ),
    "/dev/kvm in place of a VM": (
        lambda d: DaxMapper(BASE, MIB, KvmBackend(device_fd(d), 1)),
        OSError,
        "of /dev/kvm: KVM_CREATE_VM of /dev/kvm gives the VM's",
    ),
    # Numbers.
    "a size in the wrong unit": (lambda _: DaxMapper(BASE, "16MB", HostWindowBackend()), ValueError, "write '16MiB'"),
    "a size that is no multiple": (
        lambda _: DaxMapper(BASE, ODD, HostWindowBackend()),
        ValueError,
        rf"size {ODD} .* is not a multiple .*: {ODD // PAGE * PAGE}\b.* and {(ODD // PAGE + 1) * PAGE}\b.* are",
    ),
    "a base as text": (
        lambda _: UNTYPED.DaxMapper("1GiB", MIB, HostWindowBackend()),
        TypeError,
        "base: '1GiB' is text",
    ),
    "a negative size": (
        lambda _: DaxMapper(BASE, -1, HostWindowBackend()),
        OverflowError,
        r"size: -1 is not in the range",
    ),
    "a huge offset": (
        lambda d: d.mapper.setup_mapping(d.opened("rb"), 0, 1 << 5000, PAGE, writable=False),
        OverflowError,
        "window_offset: a number of 5001 bits is not in the range 0 to",
    ),
    "a length that is the file's": (
        lambda d: d.mapper.setup_mapping(d.opened("rb"), 0, MIB, 5000, writable=False),
        OSError,
        r"length 5000 \(0x1388\) is not a multiple .*page size",
    ),
    "a guest address as an offset": (
        lambda d: d.mapper.setup_mapping(d.opened("rb"), 0, BASE + MIB, PAGE, writable=False),
        OSError,
        "window offsets are wanted, not guest addresses; 0x40100000 is offset 0x100000",
    ),
    "an offset as a guest address": (lambda d: d.mapper.read(PAGE, 8), OSError, "guest addresses are wanted, not"),
    "writable as a number": (
        lambda d: UNTYPED.DaxMapper.setup_mapping(d.mapper, d.opened("rb"), 0, MIB, PAGE, 1),
        TypeError,
        "writable: .* is not a bool",
    ),
    # Files.
    "a path": (lambda d: UNTYPED.DaxMapper.map_file(d.mapper, str(d.path)), TypeError, "file: .* open the file first"),
    "a pathlib.Path": (lambda d: UNTYPED.DaxMapper.map_file(d.mapper, d.path), TypeError, "open the file first"),
    "a method without ()": (
        lambda d: UNTYPED.DaxMapper.map_file(d.mapper, d.opened("rb").fileno),
        TypeError,
        r"has fileno\(\), not .*: call it",
    ),
    "a file open for reading, writable": (
        lambda d: d.mapper.map_file(d.opened("rb"), MIB, writable=True),
        PermissionError,
        r"fd \d+ .*Permission denied: .*for reading only: open it for reading and writing",
    ),
    "a file open for writing": (
        lambda d: d.mapper.map_file(d.opened("ab"), MIB),
        PermissionError,
        "open for writing only: open it for reading, too",
    ),
    "an O_PATH descriptor": (
        lambda d: d.mapper.setup_mapping(d.fd(d.path, os.O_PATH), 0, MIB, PAGE, writable=False),
        OSError,
        "the descriptor is O_PATH: open the file with daxmap.reopen",
    ),
    "a directory": (
        lambda d: d.mapper.setup_mapping(d.fd(d.path.parent, os.O_RDONLY), 0, MIB, PAGE, writable=False),
        OSError,
        "is a directory, not a regular file",
    ),
    "a file that was not flushed": (
        lambda d: d.mapper.map_file(d.opened("wb+"), MIB),
        OSError,
        r"is empty, .* flush what was written",
    ),
    "a file of /proc": (
        lambda d: d.mapper.setup_mapping(d.fd("/proc/self/status", os.O_RDONLY), 0, MIB, PAGE, writable=False),
        OSError,
        "its file system maps no such file",
    ),
    # Mappings.
    "a range that is taken": (
        lambda d: d.mapper.map_file(d.opened("rb")),
        FileExistsError,
        "overlaps the live mapping",
    ),
    "a removal by another length": (
        lambda d: d.mapper.remove_mapping(0, PAGE),
        OSError,
        r"a part goes with remove_range",
    ),
    "a removal from the middle": (
        lambda d: d.mapper.remove_mapping(PAGE, PAGE),
        FileNotFoundError,
        r"no mapping starts at .*, \[0x0, 0x2000\) holds it",
    ),
    "a removal of numbers": (
        lambda d: UNTYPED.DaxMapper.remove_mappings(d.mapper, [0]),
        TypeError,
        r"mappings\[0\]: .*int",
    ),
    "a call after the end": (lambda d: closed_mapper(d).map_file(d.opened("rb")), OSError, "closed: make a new one"),
    "release before the end": (lambda d: d.backend.release(), OSError, "not drained yet: close it first"),
    "resolve without with": (
        lambda d: list(UNTYPED.DaxMapper.resolve(d.mapper, BASE, 8, writable=False)),
        TypeError,
        r"with mapper.resolve\(...\) as pieces",
    ),
    "text for bytes": (lambda d: UNTYPED.DaxMapper.write(d.mapper, BASE, "text"), TypeError, "bytes-like object"),
    # The share.
    "a resolver that is awaited": (
        lambda d: UNTYPED.DaxDispatcher(d.mapper, async_resolver),
        TypeError,
        "resolver is a coroutine function",
    ),
    "a resolver with an argument too few": (
        lambda d: UNTYPED.DaxDispatcher(d.mapper, lambda _nodeid: 0),
        TypeError,
        "resolver does not take the arguments .*: nodeid, fh, writable",
    ),
    "reopen by path": (
        lambda d: UNTYPED.reopen(str(d.path), writable=False),
        TypeError,
        "path_fd: .* open the file first",
    ),
    "reopen of nothing": (lambda _: UNTYPED.reopen(None, writable=False), TypeError, "path_fd: .*NoneType"),
    "reopen with a mode": (
        lambda d: UNTYPED.reopen(d.opened("rb"), "r"),
        TypeError,
        "writable: <class 'str'> is not a bool",
    ),
    "reopen of what is closed": (lambda _: reopen(1 << 20, writable=False), OSError, "fd 1048576: Bad file descriptor"),
    "a share that only its mapper knows as writable": (
        lambda d: FileServer(d.path.parent, mapper=d.mapper, readonly=True),
        ValueError,
        "a read-only share can't have a writable mapper",
    ),
    "a policy that there is not": (
        lambda d: UNTYPED.DaxDispatcher(d.mapper, lambda *_: 0, dax="on"),
        ValueError,
        "dax: 'on' is not one of 'always', 'inode', 'never'",
    ),
    "a tag that there is not": (
        lambda _: WindowLayout(0, "1GiB", {"root": "16MiB"})["home"],
        KeyError,
        "the tags are 'root'",
    ),
    "a share that is too small": (lambda _: ShareConfig("root", 128), ValueError, "128 B is less than .* 2 MiB"),
    "a share that is no tuple": (
        lambda _: UNTYPED.DaxConfig(ShareConfig("root")),
        TypeError,
        r"shares: ShareConfig is not a tuple: give \(share,\)",
    ),
    "a whole TOML document": (
        lambda _: DaxConfig.from_toml_table({"daxmap": {}}),
        ValueError,
        r'unknown key.*give document\["daxmap"\]',
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_says_what_to_do(name: str, desk: Desk) -> None:
    make, error, match = MISTAKES[name]
    with pytest.raises(error, match=match) as caught:
        make(desk)
    assert "\n" not in str(caught.value)
