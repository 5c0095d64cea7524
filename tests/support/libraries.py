"""Shared libraries that the tests have made of C files of their own."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support.programs import TIMEOUT


def build_library(directory: Path, *sources: Path) -> Path:
    """The library, named after the first of its C files. The test is skipped where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc): no system call can fail, no race run at full speed, no stand-in be built")
    library = directory / sources[0].with_suffix(".so").name
    flags = ("-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread")
    # What is preloaded into this process is not meant for the compiler.
    plain = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    command: list[str | Path] = [compiler, *flags, "-o", library, *sources, "-ldl"]
    subprocess.run(command, check=True, env=plain, timeout=TIMEOUT)
    return library
