"""What is checked of a wheel before it is released: scripts/release/."""

import base64
import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import daxmap
from support.paths import PROJECT
from support.programs import TIMEOUT
from support.wheel import Outside

INFO = f"daxmap-{daxmap.__version__}.dist-info"
MODULE = "daxmap/_core.abi3.so"
SBOM = f"{INFO}/sboms/daxmap-py.cyclonedx.json"


def script(name: str, wheel: Path) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [sys.executable, PROJECT / "scripts" / "release" / name, wheel]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)


def members(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(wheel: Path, contents: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return wheel


@pytest.fixture
def wheel(outside: Outside, tmp_path: Path) -> Path:
    """One that may be released: this machine's, whose module has no place in it."""
    module = b"\x7fELF\0libgcc_s.so.1\0crates/pyo3/src/lib.rs\0"
    path = pack(tmp_path / outside.wheel.name, members(outside.wheel) | {MODULE: module})
    assert script("sbom.py", path).returncode == 0
    return path


def test_good_wheel_passes_and_its_size_is_told(wheel: Path) -> None:
    done = script("contents.py", wheel)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{wheel.name}: {wheel.stat().st_size:,} bytes\n", "")


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("daxmap/notes.txt", b"", "daxmap/notes.txt should not be there"),
        ("daxmap/_core.cpython-314t-x86_64-linux-gnu.so", b"", "it has 2 extension modules"),
        ("daxmap/py.typed", None, "daxmap/py.typed is missing"),
        (MODULE, None, "it has 0 extension modules"),
        (SBOM, None, "it has 0 bills of materials"),
        (f"{INFO}/licenses/LICENSE-THIRD-PARTY", b"none", "LICENSE-THIRD-PARTY is not that of the project"),
        (f"{INFO}/METADATA", b"Requires-Dist: numpy\n\n", "it needs numpy to run"),
        (
            f"{INFO}/METADATA",
            b"Requires-Dist: tomli ; python_version < '4'\n\n",
            "it needs tomli ; python_version < '4' to run",
        ),
        (MODULE, b"\0/home/me/daxmap/src/lib.rs\0", f"{MODULE} names /home/me/daxmap/src/lib.rs"),
        (MODULE, b"\0~/.cargo/registry/src/x.rs\0", f"{MODULE} names ~/.cargo/registry/src/x.rs"),
        (SBOM, b'"path+file:///work/daxmap#0.2.0"', f"{SBOM} names /work/daxmap#0.2.0"),
    ],
)
def test_fault_fails(wheel: Path, name: str, content: bytes | None, fault: str) -> None:
    changed = {key: value for key, value in (members(wheel) | {name: content}).items() if value is not None}
    done = script("contents.py", pack(wheel, changed))
    assert done.returncode == 1
    assert fault in done.stderr


def test_large_wheel_fails(wheel: Path) -> None:
    done = script("contents.py", pack(wheel, members(wheel) | {MODULE: bytes(1_500_000)}))
    assert done.returncode == 1
    assert "bytes are more than 1,500,000" in done.stderr


def test_wheel_for_glibc_with_an_unwinder_of_its_own_fails(wheel: Path) -> None:
    glibc = wheel.with_name(f"daxmap-{daxmap.__version__}-cp311-abi3-manylinux2014_x86_64.whl")
    done = script("contents.py", pack(glibc, members(wheel) | {MODULE: b"\x7fELF"}))
    assert done.returncode == 1
    assert "has an unwinder of its own" in done.stderr


def test_sbom_loses_the_path_of_the_checkout_and_nothing_else(outside: Outside, tmp_path: Path) -> None:
    before = members(outside.wheel)
    wheel = pack(tmp_path / outside.wheel.name, before)
    assert script("sbom.py", wheel).returncode == 0
    after = members(wheel)
    assert {name for name in before if before[name] != after[name]} <= {SBOM, f"{INFO}/RECORD"}
    assert f"{PROJECT}/".encode() not in after[SBOM]
    assert b"path+file:///daxmap/rust/daxmap-core#" in after[SBOM]


def test_record_is_true_after_that(wheel: Path) -> None:
    contents = members(wheel)
    listed = {}
    for line in contents[f"{INFO}/RECORD"].decode().splitlines():
        name, digest, size = line.rsplit(",", 2)
        listed[name] = (digest, size)
    assert listed.keys() == contents.keys()
    digest = base64.urlsafe_b64encode(hashlib.sha256(contents[SBOM]).digest()).decode().rstrip("=")
    assert listed[SBOM] == (f"sha256={digest}", str(len(contents[SBOM])))
