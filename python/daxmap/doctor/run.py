"""Runs the checks and prints what they found."""

import os
import shutil
import sys
from collections.abc import Mapping

from daxmap.doctor import kernel_config
from daxmap.doctor.examine import examine
from daxmap.doctor.report import as_json as in_json
from daxmap.doctor.report import as_text, succeeded

__all__ = ["doctor"]


def doctor(config: Mapping[str, str] | None = None, *, as_json: bool = False) -> int:
    """Examine this host, and print what was found to standard output.

    Args:
        config: the options of a guest's kernel, to be judged, too: see `kernel_config.read`.
        as_json: print one JSON object, instead of text.

    Returns:
        The exit code: 0 if nothing failed, else 1.
    """
    host, kernel = list(examine()), [] if config is None else list(kernel_config.facts(config))
    if as_json:
        sys.stdout.write(f"{in_json([*host, *kernel])}\n")
    else:
        width = shutil.get_terminal_size((100, 24)).columns
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        sys.stdout.write(f"{as_text(host, kernel, width=width, colour=colour)}\n")
    return 0 if succeeded([*host, *kernel]) else 1
