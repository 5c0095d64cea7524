"""Writes LICENSE-THIRD-PARTY: the licence texts of the crates that are compiled into the wheel.

    python scripts/licences.py            # writes the file
    python scripts/licences.py --check    # says whether it is what would be written, by its exit code

Some of these licences, the BSD and MIT ones, want their text to go along with the binary. The texts are those that the
crates carry, as cargo has unpacked them.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
FILE = PROJECT / "LICENSE-THIRD-PARTY"
Package = dict[str, Any]
NAMES = ("licen[cs]e*", "LICEN[CS]E*", "COPYING*", "COPYRIGHT*")


def metadata() -> Package:
    """What cargo knows of the crates, for the platform where most of them are needed."""
    command = ["cargo", "metadata", "--format-version=1", "--locked", "--filter-platform=x86_64-unknown-linux-gnu"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, check=True, text=True)
    found: Package = json.loads(done.stdout)
    return found


def compiled_in() -> list[Package]:
    """The crates of others that the extension module is linked from, by name."""
    known = metadata()
    nodes = {node["id"]: node for node in known["resolve"]["nodes"]}
    packages = {package["id"]: package for package in known["packages"]}
    todo = [key for key, package in packages.items() if package["name"] == "daxmap-py"]
    seen = set(todo)
    while todo:
        for dependency in nodes[todo.pop()]["deps"]:
            normal = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            macro = any("proc-macro" in target["kind"] for target in packages[dependency["pkg"]]["targets"])
            if normal and not macro and dependency["pkg"] not in seen:
                seen.add(dependency["pkg"])
                todo.append(dependency["pkg"])
    theirs = (packages[key] for key in seen if packages[key]["source"])
    return sorted(theirs, key=lambda package: (str(package["name"]), str(package["version"])))


def texts(package: Package) -> list[str]:
    """The licence texts that a crate carries."""
    directory = Path(str(package["manifest_path"])).parent
    files = sorted({file for pattern in NAMES for file in directory.glob(pattern) if file.is_file()})
    return [file.read_text(errors="replace").strip() for file in files]


def document() -> str:
    """The whole file: each text once, under the crates that carry it."""
    by_text: dict[str, list[str]] = {}
    for package in compiled_in():
        name = f"{package['name']} {package['version']} ({package['license']})"
        for text in texts(package) or [f"No text comes with it. Authors: {', '.join(map(str, package['authors']))}"]:
            by_text.setdefault(text, []).append(name)
    rule = "=" * 80
    parts = ["The wheel is linked from these crates of others. Their licences, and the texts that they carry:"]
    parts += [f"{rule}\n{chr(10).join(names)}\n{rule}\n\n{text}" for text, names in by_text.items()]
    return "\n\n".join(parts) + "\n"


def main() -> int:
    """Writes or checks the file."""
    if sys.argv[1:] == ["--check"]:
        if FILE.exists() and FILE.read_text() == document():
            return 0
        print("LICENSE-THIRD-PARTY is not that of Cargo.lock: python scripts/licences.py", file=sys.stderr)
        return 1
    FILE.write_text(document())
    return 0


if __name__ == "__main__":
    sys.exit(main())
