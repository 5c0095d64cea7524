"""What a check has found."""

import errno
from dataclasses import dataclass
from typing import Literal

__all__ = ["Fact", "fail", "ok", "told", "warn"]


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing about the host, or about a guest's kernel.

    Attributes:
        name: What it is about. Scripts find it by this.
        state: "ok"; "warn" where something is less than it could be; "fail" where daxmap can't do its work, or
            the guest's kernel can't do DAX.
        detail: What was found.
        remedy: What to do about it. None where nothing has to be done.
    """

    name: str
    state: Literal["ok", "warn", "fail"]
    detail: str
    remedy: str | None = None


def ok(name: str, detail: str) -> Fact:
    """Something is as it should be."""
    return Fact(name, "ok", detail)


def warn(name: str, detail: str, remedy: str) -> Fact:
    """Something is less than it could be."""
    return Fact(name, "warn", detail, remedy)


def fail(name: str, detail: str, remedy: str) -> Fact:
    """Daxmap can't do its work, or the guest's kernel can't do DAX."""
    return Fact(name, "fail", detail, remedy)


def told(error: OSError) -> str:
    """An error as a detail tells it: its file, what it says, and its errno by name."""
    where = f"{error.filename}: " if error.filename else ""
    name = f" ({errno.errorcode.get(error.errno, error.errno)})" if error.errno else ""
    return f"{where}{error.strerror or error}{name}"
