"""Interpreters of one process: the first that imports daxmap has it, and the others are refused."""

import subprocess
import sys

import pytest

from support.programs import TIMEOUT, with_support

PROGRAM = '''
import importlib, sys

USE = """
import tempfile
class Backend:
    def map(self, *_):
        print("used", flush=True)
    def unmap(self, *_):
        pass
try:
    from daxmap import DaxMapper
except ImportError as error:
    print(error, flush=True)
else:
    with tempfile.TemporaryFile() as file, DaxMapper(1 << 32, 1 << 20, Backend()) as mapper:
        mapper.setup_mapping(file, 0, 0, mapper.page_size, writable=False)
"""

def use_in_another():
    if sys.version_info >= (3, 13):
        interpreters = importlib.import_module("_interpreters")
        other = interpreters.create(kind)
    else:
        interpreters = importlib.import_module("_xxsubinterpreters")
        other = interpreters.create(isolated=kind == "isolated")
    failure = interpreters.run_string(other, f"import sys; sys.path[:] = {sys.path!r}; exec({USE!r})")
    interpreters.destroy(other)
    assert failure is None, failure

kind, *order = sys.argv[1:]
for where in order:
    use_in_another() if where == "other" else exec(USE, {})
'''
OURS = "another interpreter of this process has imported daxmap: use it there, or start a process for this one"
CPYTHONS = "module daxmap._core does not support loading in subinterpreters"


def use_in(kind: str, *order: str) -> list[str]:
    """What came of each use. The process must end well, and say nothing else."""
    command = [sys.executable, "-W", "error", "-c", PROGRAM, kind, *order]
    done = subprocess.run(command, env=with_support(), capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize("kind", ["legacy", "isolated"])
def test_others_are_refused_and_the_first_goes_on(kind: str) -> None:
    refusal = CPYTHONS if kind == "isolated" and sys.version_info >= (3, 12) else OURS
    assert use_in(kind, "main", "other", "main", "other") == ["used", refusal, "used", refusal]


def test_the_first_has_it_even_when_it_is_gone() -> None:
    assert use_in("legacy", "other", "other", "main") == ["used", OURS, OURS]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="CPython 3.11 lets such an interpreter import it")
def test_one_that_cpython_refuses_leaves_it_to_others() -> None:
    assert use_in("isolated", "other", "main") == [CPYTHONS, "used"]
