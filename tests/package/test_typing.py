"""Types, as a caller outside the repository sees them who has only the wheel; and stubs that drift from the binary."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.wheel import Outside, run_anyhow

RIGHT = '''
"""A VMM's use of daxmap, from layout to drain."""

import mmap
import tempfile
from typing import assert_type

from daxmap import (
    DAX_WINDOW_PER_SHARE,
    Access,
    DaxMapper,
    DaxStats,
    HostWindowBackend,
    HypervisorBackend,
    KvmBackend,
    MappingInfo,
    RemoveResult,
    Share,
    ShareConfig,
    WindowLayout,
    dax_window_base,
)
from daxmap.protocols import Backend, Hypervisor, Mapper


class Cpu:
    """A hypervisor of the VMM's own."""

    def map(self, host_address: int, guest_address: int, length: int, access: Access, /) -> None: ...

    def unmap(self, guest_address: int, length: int, /) -> int:
        return 0


class Frontend:
    """A whole backend of the VMM's own."""

    def map(self, fd: int, file_offset: int, window_offset: int, length: int, writable: bool, /) -> None: ...

    def unmap(self, window_offset: int, length: int, /) -> None: ...


def backend_of(vm_fd: int | None) -> HostWindowBackend | KvmBackend:
    return HostWindowBackend() if vm_fd is None else KvmBackend(vm_fd, slot=1)


layout = WindowLayout(0, 2 << 20, [("home", DAX_WINDOW_PER_SHARE)])
share = layout["home"]
assert_type(layout["home"], Share)
assert_type(ShareConfig("home", "128MiB").size, int)
sizes = {"home": "128MiB"}
assert WindowLayout(0, "2MiB", sizes) == WindowLayout(0, "2MiB", [ShareConfig("home", "128MiB")]) == layout
assert_type(dax_window_base(0, 2 << 20), int)
assert share.base == dax_window_base(0, 2 << 20)

backend = backend_of(None)
with DaxMapper(share.base, share.size, backend, readonly=False, max_mappings=None, name="share") as mapper:
    assert_type(mapper, DaxMapper)
    assert_type(mapper.host_address, int | None)
    page = mmap.PAGESIZE
    with tempfile.TemporaryFile() as file:
        file.write(b"DAX!")
        file.flush()
        mapper.setup_mapping(file, file_offset=0, window_offset=0, length=page, writable=True)
        mapper.setup_mapping(file.fileno(), 0, page, page, False)
    mapper.write(share.base, bytearray(b"dax"))
    assert_type(mapper.read(share.base, 4), bytes)
    assert mapper.read(share.base, 4) == b"dax!"
    assert_type(mapper.lookup(0), MappingInfo | None)
    assert [info.window_offset for info in mapper] == [0, page]
    result = mapper.remove_mappings((info.window_offset, info.length) for info in mapper)
    assert_type(result, RemoveResult)
    assert_type(result.failed, list[tuple[int, int, int]])
    assert (result.removed, result.errno) == (2, 0)
stats = mapper.stats()
assert_type(stats, DaxStats)
assert_type(stats.errors, dict[int, int])
assert stats.remove_count == 2
if isinstance(backend, HostWindowBackend):
    backend.release()

cpu: Hypervisor = Cpu()
frontend: Backend = Frontend()
for own in (HypervisorBackend(cpu), frontend):
    with DaxMapper.for_share(share, own) as mapper:
        seen_by_a_dispatcher: Mapper = mapper
'''

# Each line that ends in a comment is wrong, for the reason that the comment gives; no other line is.
WRONG = '''
"""Mistakes that a type checker is to find before a guest does."""

from daxmap import DaxMapper, HostWindowBackend, HypervisorBackend, KvmBackend, WindowLayout

mapper = DaxMapper(0, 2 << 20, HostWindowBackend())
mapper.setup_mapping("file", 0, 0, 4096, True)  # arg-type
mapper.setup_mapping(3, 0, 0, 4096.0, True)  # arg-type
mapper.setup_mapping(3, offset=0, window_offset=0, length=4096, writable=True)  # call-arg
mapper.setup_mapping(3, 0, 0, 4096)  # call-arg
mapper.remove_mappings([(0, 4096, True)])  # list-item
mapper.write(0, "text")  # arg-type
mapper.size = 0  # misc
mapper.setup(3)  # attr-defined
address: int = mapper.host_address  # assignment
DaxMapper(0, 2 << 20, None)  # arg-type
DaxMapper(0, 2 << 20, HostWindowBackend(), True)  # call-arg
DaxMapper(0, 2 << 20, HostWindowBackend(), page_size=4096)  # call-arg
KvmBackend("/dev/kvm", 1)  # arg-type
WindowLayout(0, 2 << 20, [("tag", 1.0)])  # list-item
mapper.stats().setup_count += 1  # misc


class Mine(DaxMapper):  # misc
    pass


class NoUnmap:
    def map(self, fd: int, file_offset: int, window_offset: int, length: int, writable: bool, /) -> None: ...


class NoAccess(NoUnmap):
    def unmap(self, window_offset: int, length: int, /) -> None: ...


DaxMapper(0, 2 << 20, NoUnmap())  # arg-type
HypervisorBackend(NoAccess())  # arg-type
'''


def check(outside: Outside, program: str) -> subprocess.CompletedProcess[str]:
    """What mypy says of a program, with the package that its own interpreter finds, and no configuration of ours."""
    (outside.directory / "program.py").write_text(program)
    mypy = (sys.executable, "-m", "mypy", "--strict", "--config-file=", "--python-executable", outside.python)
    return run_anyhow(*mypy, "program.py", directory=outside.directory)


def test_program_that_uses_the_api_is_clean_and_runs(outside: Outside) -> None:
    checked = check(outside, RIGHT)
    assert (checked.returncode, checked.stdout) == (0, "Success: no issues found in 1 source file\n")
    outside.run("program.py")


def test_mistakes_are_found_each_in_its_line_and_nowhere_else(outside: Outside) -> None:
    expected = [
        (str(number), line.split("  # ")[1]) for number, line in enumerate(WRONG.splitlines(), 1) if "  # " in line
    ]
    checked = check(outside, WRONG)
    found = re.findall(r"^program\.py:(\d+): error: .*\[(.+)\]$", checked.stdout, re.MULTILINE)
    assert found == expected, checked.stdout


def compare(outside: Outside, directory: Path, old: str, new: str) -> subprocess.CompletedProcess[str]:
    """What stubtest says of the installed package with one piece of its stub changed."""
    package = shutil.copytree(outside.package, directory / "daxmap")
    stub = package / "_core.pyi"
    text = stub.read_text()
    assert text.count(old) == 1
    stub.write_text(text.replace(old, new))
    stubtest = (sys.executable, "-m", "mypy.stubtest", "daxmap._core")
    return run_anyhow(*stubtest, directory=directory, MYPYPATH=str(directory), PYTHONPATH=str(directory))


def test_stub_as_installed_agrees_with_the_binary(outside: Outside, tmp_path: Path) -> None:
    same = "def reset(self)"
    compared = compare(outside, tmp_path, same, same)
    assert compared.returncode == 0, compared.stdout + compared.stderr


@pytest.mark.parametrize(
    ("old", "new", "about"),
    [
        ("def reset(self)", "def reset(self, hard: bool)", "DaxMapper.reset"),
        ("def read(self, guest_address: int", "def read(self, address: int", "DaxMapper.read"),
        ("def lookup(self", "def find(self", "DaxMapper.lookup"),
        ("@final\nclass DaxMapper", "class DaxMapper", "DaxMapper"),
    ],
    ids=["parameter more", "parameter renamed", "method renamed", "not final"],
)
def test_stub_that_drifts_from_the_binary_is_found(
    old: str, new: str, about: str, outside: Outside, tmp_path: Path
) -> None:
    compared = compare(outside, tmp_path, old, new)
    assert compared.returncode == 1, compared.stdout + compared.stderr
    assert f"error: daxmap._core.{about} " in compared.stdout
