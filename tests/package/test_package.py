"""What a user gets: the wheel, the sdist, and what importing the package does to a process."""

import json
import re
import tarfile
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

import daxmap
from daxmap import _core
from support.paths import PROJECT
from support.wheel import Outside, build

STUB = PROJECT / "stubs" / "daxmap" / "_core.pyi"
INFO = f"daxmap-{daxmap.__version__}.dist-info"

# What code written against daxmap imports. A name may join these; none may leave.
PROMISED = {
    "DAX_WINDOW_PER_SHARE",
    "Access",
    "DaxConfig",
    "DaxMapper",
    "DaxStats",
    "HostWindowBackend",
    "HvfBackend",
    "HypervisorBackend",
    "KvmBackend",
    "MappingInfo",
    "RemoveResult",
    "WindowLayout",
    "dax_window_base",
    "dax_window_total",
}

# Prints what differs in the process after the import, beside the modules that are loaded.
IMPORT = """
import json, logging, os, signal
from pathlib import Path

def seen():
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "threads": status["Threads"],
        "caught signals": status["SigCgt"],
        "ignored signals": status["SigIgn"],
        "files": len(os.listdir("/proc/self/fd")),
        "children": Path(f"/proc/self/task/{os.getpid()}/children").read_text(),
        "root handlers": len(logging.getLogger().handlers),
        "root level": logging.getLogger().level,
        "environment": dict(os.environ),
    }

before = seen()
import daxmap
after = seen()
with daxmap.DaxMapper(0, 2 << 20, backend := daxmap.HostWindowBackend()) as mapper:
    try:
        mapper.remove_mapping(0, 1)  # a warning
    except OSError:
        pass
backend.release()
logger = logging.getLogger("daxmap")
print(json.dumps({
    "changed": [name for name in before if before[name] != after[name]],
    "handlers": [type(handler).__name__ for handler in logger.handlers],
    "level": logger.level,
    "propagate": logger.propagate,
}))
"""


@pytest.fixture(scope="module")
def wheel(outside: Outside) -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(outside.wheel) as archive:
        yield archive


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    return Parser().parsestr(wheel.read(f"{INFO}/METADATA").decode())


def sources(directory: Path, *patterns: str) -> set[str]:
    """The files below the directory that match, relative to the project's own root."""
    return {str(path.relative_to(PROJECT)) for pattern in patterns for path in directory.rglob(pattern)}


TOP = ("*.md", "*.mk", "*.toml", "Cargo.lock", "LICENSE-*", "Makefile")


def in_the_tree() -> set[str]:
    """The files of a checkout, or of an unpacked sdist, that people wrote; what was made there has names of its own."""
    top = {path.name for pattern in TOP for path in PROJECT.glob(pattern)}
    folders = ("benches", "docs", "examples", "python", "rust", "scripts", "stubs", "tests")
    below = set[str]().union(*(sources(PROJECT / folder, "*") for folder in folders))
    return top | {name for name in below if (PROJECT / name).is_file() and not re.search(r"__pycache__/|\.so$", name)}


PYTHON_SOURCES = sources(PROJECT / "python", "*.py", "*.pyi", "py.typed")


def test_wheel_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    package = {name for name in wheel.namelist() if not name.startswith(f"{INFO}/")}
    assert package == {name.removeprefix("python/") for name in PYTHON_SOURCES} | {"daxmap/_core.abi3.so"}


def test_wheel_has_the_one_stub_as_a_file_and_the_mark_of_a_typed_package(wheel: zipfile.ZipFile) -> None:
    assert (PROJECT / "python" / "daxmap" / "_core.pyi").read_bytes() == STUB.read_bytes()
    assert wheel.read("daxmap/_core.pyi") == STUB.read_bytes()
    assert "daxmap/py.typed" in wheel.namelist()


def test_one_wheel_serves_every_python_from_3_11_on(wheel: zipfile.ZipFile, metadata: Message) -> None:
    tags = Parser().parsestr(wheel.read(f"{INFO}/WHEEL").decode()).get_all("Tag", [])
    assert tags
    assert all(tag.startswith("cp311-abi3-") for tag in tags)
    assert metadata["Requires-Python"] == ">=3.11"


def test_wheel_needs_nothing_to_run(metadata: Message) -> None:
    needed = metadata.get_all("Requires-Dist", [])
    assert needed, "the extras are gone; is this the right file?"
    assert [line for line in needed if not re.search(r";\s*extra == '\w+'$", line)] == []


THIRD_PARTY = ("LICENSE-THIRD-PARTY", "fuse-backend-rs")


def test_wheel_carries_its_licences_and_those_of_others(wheel: zipfile.ZipFile, metadata: Message) -> None:
    assert metadata["License-Expression"] == "MIT OR Apache-2.0"
    expected = [("LICENSE-MIT", "Copyright (c) "), ("LICENSE-APACHE", "Apache License"), THIRD_PARTY]
    for name, owner in expected:
        assert name in metadata.get_all("License-File", [])
        text = wheel.read(f"{INFO}/licenses/{name}").decode()
        assert owner in text
        assert text == (PROJECT / name).read_text()


def test_sdist_holds_all_that_is_needed_to_build_test_and_release(tmp_path: Path) -> None:
    with tarfile.open(build(tmp_path, "sdist")) as archive:
        files = {member.name.split("/", 1)[1]: member for member in archive}
        assert [name for name, member in files.items() if not member.isfile()] == []
        assert files.keys() == in_the_tree() | {"PKG-INFO"}
        stub = archive.extractfile(files["python/daxmap/_core.pyi"])
        assert stub is not None
        assert stub.read() == STUB.read_bytes()


def test_console_script_and_module_run_from_the_wheel_alone(outside: Outside) -> None:
    version = f"daxmap {daxmap.__version__}\n"
    assert outside.run(outside.python.with_name("daxmap"), "--version") == version
    assert outside.run("-m", "daxmap", "--version") == version
    assert json.loads(outside.run("-m", "daxmap", "demo", "--json"))["ok"] is True


def test_version_is_that_of_the_wheel(metadata: Message) -> None:
    assert metadata["Version"] == daxmap.__version__


def test_import_leaves_the_process_alone(outside: Outside) -> None:
    assert json.loads(outside.run("-c", IMPORT)) == {
        "changed": [],
        "handlers": ["NullHandler"],
        "level": 0,
        "propagate": True,
    }


def test_promised_names_are_there() -> None:
    assert set(daxmap.__all__) >= PROMISED


def test_public_names_are_documented() -> None:
    public = [getattr(daxmap, name) for name in daxmap.__all__]
    assert [thing for thing in public if callable(thing) and not thing.__doc__] == []


def test_core_keeps_no_public_name_to_itself() -> None:
    own = {name for name in dir(_core) if not name.startswith("_")}
    assert own
    assert own <= set(daxmap.__all__)
