"""Functions that run in a forked child of the test."""

import os
import signal
import traceback
from collections.abc import Callable
from typing import NoReturn

_TIMEOUT = 60
"""Seconds after which a child hangs for sure."""


def in_fork(body: Callable[[], None]) -> None:
    """Run a function in a forked child, which must succeed in silence."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        _run_and_exit(body, write)
    os.close(write)
    with os.fdopen(read) as output:
        said = output.read()
    _, status = os.waitpid(child, 0)
    assert (os.waitstatus_to_exitcode(status), said) == (0, "")


def _run_and_exit(body: Callable[[], None], stderr: int) -> NoReturn:
    """The child's part: pytest must not go on in it."""
    try:
        end_when_it_hangs()
        os.dup2(stderr, 2)
        body()
    except BaseException:  # noqa: BLE001
        os.write(stderr, traceback.format_exc().encode())
        os._exit(1)
    os._exit(0)


def end_when_it_hangs() -> None:
    """Have the kernel end this process when it takes too long, whatever it waits for. A handler would wait its turn."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_TIMEOUT)
