"""What cannot be had here, and how that is said."""

import os
import shutil


class SkippedError(Exception):
    """Something is missing on this machine: the message says what and why, and what would help."""


def need_program(name: str, purpose: str, package: str) -> str:
    """The path of a program, or SkippedError."""
    path = shutil.which(name)
    if path is None:
        raise SkippedError(f"no {name}, {purpose} (apt install {package})")
    return path


def skipped(reason: SkippedError, variable: str) -> int:
    """Say it, and return the exit status: that of a failure if the environment has `variable=require`."""
    print(f"SKIPPED: {reason}", flush=True)
    return 1 if os.environ.get(variable) == "require" else 0
