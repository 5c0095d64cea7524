"""Test bodies in a process of their own: for faults, forks and limits that concern the whole process."""

import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.programs import TIMEOUT, with_support
from support.rig import Rig
from support.rigs import RIGS

Body = Callable[[Rig], None]


class Scenarios(list[Body]):
    """Bodies that a test is parametrised with: a decorator that collects them."""

    def __call__(self, body: Body) -> Body:
        self.append(body)
        return body


def name_of(body: Body) -> str:
    return body.__name__


def run_in_child(body: Body, backend: str, directory: Path, *, preload: Path | None = None) -> None:
    """Run a function of a test module in a new interpreter, with a rig of its own.

    It must succeed and leave nothing on stderr: no traceback, no warning. `preload` is a library to start it with.
    """
    command = [sys.executable, "-W", "error", "-m", "support.children", body.__module__, body.__name__, backend]
    environment = with_support(**({} if preload is None else {"LD_PRELOAD": str(preload)}))
    done = subprocess.run(
        [*command, str(directory)], env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    if done.returncode != 0 or done.stderr:
        pytest.fail(
            f"{body.__name__} in a process of its own, exit status {done.returncode}:\n{done.stderr}", pytrace=False
        )


def _main(module: str, name: str, backend: str, directory: str) -> None:
    body: Body = getattr(importlib.import_module(module), name)
    with RIGS[backend](Path(directory)) as rig:
        body(rig)


if __name__ == "__main__":
    _main(*sys.argv[1:])
