"""The wheels in dist/, built again where they are older than the sources."""

import subprocess
from functools import cache
from pathlib import Path

from support.paths import PROJECT

DIST = PROJECT / "dist"
_SOURCES = {".lock", ".py", ".pyi", ".rs", ".toml", ".typed"}


def is_fresh(wheel: Path) -> bool:
    """Whether it is as new as all that it is made of."""
    return wheel.stat().st_mtime >= _last_change()


@cache
def build(platform: str) -> None:
    """Build those of a platform, in the words of `make wheels`. Once a run: it makes the wheels of all interpreters."""
    print(f"No wheel in {DIST} is as new as the sources: building those for {platform}.", flush=True)  # noqa: T201
    subprocess.run(["bash", "scripts/release/wheels.sh", platform], cwd=PROJECT, check=True)  # noqa: S607


@cache
def _last_change() -> float:
    recipe = PROJECT / "scripts/release/wheels.sh"
    files = [*PROJECT.glob("Cargo.*"), PROJECT / "pyproject.toml", recipe, *_below("python"), *_below("rust")]
    return max(file.stat().st_mtime for file in files)


def _below(folder: str) -> list[Path]:
    return [path for path in (PROJECT / folder).rglob("*") if path.suffix in _SOURCES]
