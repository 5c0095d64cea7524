"""What cannot be had here, and how that is said."""

import shutil


class SkippedError(Exception):
    """Something is missing on this machine: the message says what and why, and what would help."""


def need_program(name: str, purpose: str, package: str) -> str:
    """The path of a program, or SkippedError."""
    path = shutil.which(name)
    if path is None:
        raise SkippedError(f"no {name}, {purpose} (apt install {package})")
    return path
