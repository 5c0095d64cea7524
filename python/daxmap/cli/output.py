"""What a command does about outputs that cannot be written to: a pipe without a reader, a full disk, `>&-`."""

import io
import sys
from contextlib import suppress

__all__ = ["complain", "flush", "prepare"]


def prepare() -> None:
    """Have characters that standard output cannot show written as escapes: of file names that are no UTF-8, mostly."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def flush() -> None:
    """Write what is left in the buffer of standard output.

    Raises:
        OSError: It cannot be written, and is given up: the interpreter would try again when it exits, and print that.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        with suppress(OSError):
            sys.stdout.close()
        raise OSError(error.errno, error.strerror, "standard output") from None


def complain(line: str) -> None:
    """Write a line to standard error, if it can be written."""
    if sys.stderr is not None:
        with suppress(OSError):
            sys.stderr.write(f"{line}\n")
