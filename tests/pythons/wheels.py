"""The wheel in dist/ that fits an interpreter, built if there is none."""

import platform
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

from support.paths import PROJECT

DIST = PROJECT / "dist"
_SOURCES = {".lock", ".py", ".pyi", ".rs", ".toml", ".typed"}


def pick_wheel(python: str, folder: Path) -> Path:
    """The one that pip takes for an interpreter. It is built if it isn't there, or is older than any source."""
    wheel = _picked(python, folder)
    if wheel is None or wheel.stat().st_mtime < _last_change():
        _build()
        wheel = _picked(python, folder)
    if wheel is None:
        raise SystemExit(f"no wheel in {DIST} fits {python}")
    return wheel


def _picked(python: str, folder: Path) -> Path | None:
    version = tomllib.loads((PROJECT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    pip = [python, "-m", "pip", "download", "--no-index", "--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
    done = subprocess.run([*pip, "--find-links", str(DIST), f"daxmap=={version}"], capture_output=True, check=False)
    if done.returncode != 0:
        return None
    [copy] = folder.glob("*.whl")
    copy.unlink()
    return DIST / copy.name


@cache
def _last_change() -> float:
    files = [*PROJECT.glob("Cargo.*"), PROJECT / "pyproject.toml", *_below("python"), *_below("rust")]
    return max(file.stat().st_mtime for file in files)


def _below(folder: str) -> list[Path]:
    return [path for path in (PROJECT / folder).rglob("*") if path.suffix in _SOURCES]


@cache
def _build() -> None:
    """Once a run: it makes the wheels of all interpreters."""
    platforms = {"linux": "manylinux-{}", "darwin": "macos-{}"}
    name = platforms[sys.platform].format(platform.machine())
    print(f"No wheel in {DIST} is as new as the sources: building those for {name}.", flush=True)
    subprocess.run(["bash", "scripts/release/wheels.sh", name], cwd=PROJECT, check=True)  # noqa: S607
