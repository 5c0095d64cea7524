"""Check what no tool knows of a wheel: it has our files and no others, is small, needs nothing, tells of no machine.

python scripts/release/contents.py dist/*.whl
"""

import re
import sys
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
LARGEST = 1_500_000
LICENCES = {path.name for path in PROJECT.glob("LICENSE-*")}
METADATA = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", *(f"licenses/{name}" for name in LICENCES)}
SBOM = re.compile(r"sboms/[\w-]+\.cyclonedx\.json")
MODULE = re.compile(r"daxmap/_core\.(?:abi3|cpython-\w+t-[\w-]+)\.so")

# Where people's checkouts, home folders and caches are.
PLACES = ["work", "root", "tmp", "home", "Users", "builds?", "mnt", "var"]
BUILD_PATH = re.compile(
    rb"(?<![\w.-])/(?:%s)/[\x21-\x7e]{2,}|[\x21-\x7e]*\.cargo/[\x21-\x7e]*" % "|".join(PLACES).encode()
)


def package() -> set[str]:
    """The files of the package that are sources, as the wheel names them."""
    root = PROJECT / "python"
    files = (path for pattern in ("*.py", "*.pyi", "py.typed") for path in root.rglob(pattern))
    return {path.relative_to(root).as_posix() for path in files}


def wrong_files(names: set[str], info: str) -> Iterator[str]:
    """What is missing, and what should not be there."""
    expected = package() | {f"{info}/{name}" for name in METADATA}
    modules = {name for name in names if MODULE.fullmatch(name)}
    sboms = {name for name in names if SBOM.fullmatch(name.removeprefix(f"{info}/"))}
    yield from (f"{name} is missing" for name in sorted(expected - names))
    yield from (f"{name} should not be there" for name in sorted(names - expected - modules - sboms))
    if len(modules) != 1:
        yield f"it has {len(modules)} extension modules"
    if len(sboms) != 1:
        yield f"it has {len(sboms)} bills of materials"


def faults(path: Path) -> Iterator[str]:
    """What is wrong with a wheel, a line each."""
    if path.stat().st_size > LARGEST:
        yield f"{path.stat().st_size:,} bytes are more than {LARGEST:,}"
    with zipfile.ZipFile(path) as wheel:
        contents = {name: wheel.read(name) for name in wheel.namelist()}
    info = "-".join(path.name.split("-")[:2]) + ".dist-info"
    yield from wrong_files(set(contents), info)
    for name in LICENCES:
        if contents.get(f"{info}/licenses/{name}") != (PROJECT / name).read_bytes():
            yield f"{name} is not that of the project"
    metadata = Parser().parsestr(contents[f"{info}/METADATA"].decode())
    for needed in metadata.get_all("Requires-Dist", []):
        if not re.search(r";\s*extra == '\w+'$", needed):
            yield f"it needs {needed} to run"
    for name, content in contents.items():
        if name.endswith((".so", ".json")):
            found = sorted(set(BUILD_PATH.findall(content)))
            yield from (f"{name} names {text.decode()}" for text in found)
        if name.endswith(".so") and "-manylinux" in path.name and b"\0libgcc_s.so.1\0" not in content:
            yield f"{name} has an unwinder of its own: see wheels.sh"


def main(wheels: list[str]) -> int:
    """Print each wheel's size and faults. The exit code is 1 if there is one."""
    failed = 0
    for path in map(Path, wheels):
        print(f"{path.name}: {path.stat().st_size:,} bytes")
        for fault in faults(path):
            print(f"{path.name}: {fault}", file=sys.stderr)
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
