"""All the tests of this folder once more, in a process that sees the 16 KiB pages of Apple silicon."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hvf.standin import SOURCES
from support.host import PAGE
from support.libraries import build_library
from support.programs import TIMEOUT

HERE = Path(__file__)
OTHERS = sorted(str(path) for path in HERE.parent.glob("test_*.py") if path != HERE)
PAGE_SIZES = "import mmap, os; print(mmap.PAGESIZE, os.sysconf('SC_PAGESIZE'))"


def test_others_pass_with_16_kib_pages(tmp_path: Path) -> None:
    if PAGE == 16384:
        pytest.skip("this host has 16 KiB pages: the other tests ran with them")
    environment = os.environ | {"LD_PRELOAD": str(build_library(tmp_path, SOURCES / "pages16k.c"))}
    seen = subprocess.check_output([sys.executable, "-c", PAGE_SIZES], env=environment, text=True, timeout=TIMEOUT)
    assert seen == "16384 16384\n"
    again = (
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--basetemp",
        str(tmp_path / "tests"),
        *OTHERS,
    )
    done = subprocess.run(again, capture_output=True, text=True, check=False, env=environment, timeout=TIMEOUT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout
