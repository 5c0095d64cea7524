"""Programs that tests run: how long they may take, and how they find the support of the tests."""

import os
import sys

from support.paths import TESTS

TIMEOUT = 100 * int(os.environ.get("PATIENCE", "1"))
"""Seconds after which a program hangs for sure: fewer than a test may take, so that the test can say which it was.
Under emulation, where minutes become many, PATIENCE says how many times as long."""


def with_support(**variables: str) -> dict[str, str]:
    """The environment of a Python program that imports this package."""
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])} | variables
