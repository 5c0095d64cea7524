"""The wheel in dist/ that fits an interpreter, built if there is none."""

import platform
import subprocess
import sys
import tomllib
from pathlib import Path

from support.dist import DIST, build, is_fresh
from support.paths import PROJECT


def pick_wheel(python: str, folder: Path) -> Path:
    """The one that pip takes for an interpreter. It is built if it isn't there, or is older than any source."""
    wheel = _picked(python, folder)
    if wheel is None or not is_fresh(wheel):
        build(_platform())
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


def _platform() -> str:
    platforms = {"linux": "manylinux-{}", "darwin": "macos-{}"}
    return platforms[sys.platform].format(platform.machine())
