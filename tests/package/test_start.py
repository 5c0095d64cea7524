"""What a program waits for when it imports daxmap: nothing that it has not asked for."""

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import daxmap

if TYPE_CHECKING:
    from collections.abc import Callable

NEEDED = {"daxmap", "daxmap._core", "daxmap._exit", "atexit"}


def modules_of(program: str) -> set[str]:
    """What a program has imported at its end, beyond what Python itself has."""
    code = f"import sys\nbefore = set(sys.modules)\n{program}\nprint(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_brings_nothing_but_the_extension_module() -> None:
    assert modules_of("import daxmap") - NEEDED == set()


def test_a_name_brings_its_module_and_not_the_others() -> None:
    assert {name for name in modules_of("from daxmap import DaxStatus") if name.startswith("daxmap")} == {
        *(NEEDED - {"atexit"}),
        "daxmap.status",
    }


@pytest.mark.parametrize("name", daxmap.__all__)
def test_every_public_name_is_there_and_listed(name: str) -> None:
    assert name in dir(daxmap)
    assert getattr(daxmap, name) is getattr(daxmap, name)


def test_a_name_that_there_is_not_is_an_attribute_error() -> None:
    get: Callable[[object, str], object] = getattr
    with pytest.raises(AttributeError, match=r"module 'daxmap' has no attribute 'DaxMaper'"):
        get(daxmap, "DaxMaper")


def test_logging_is_imported_by_the_first_call_that_may_log() -> None:
    program = "import daxmap\nwindow = daxmap.HostWindowBackend()\nmapper = daxmap.DaxMapper(0, 2 << 20, window)\n"
    assert "logging" in modules_of(f"{program}mapper.setup_mapping(open('/bin/sh'), 0, 0, mapper.page_size, False)")
