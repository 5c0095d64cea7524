"""The command line of `daxmap doctor`."""

import argparse
from pathlib import Path

from daxmap.cli.output import complain
from daxmap.cli.parser import Commands

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Add the command `doctor`."""
    parser = commands.add_parser(
        "doctor",
        help="tell what this host, and a guest's kernel, can do with daxmap",
        description=(
            "Finds out what daxmap can do here, by doing it where that is possible: a line for each fact, with ok, warn"
            " or fail, and with what to do about it."
        ),
        epilog=(
            "Exit code: 0 if nothing failed: a page of a file was mapped and seen, and the kernel config, if one was"
            " given, has DAX. Warnings don't count: without KVM, host windows, unicorn and `daxmap serve` still work. A"
            ' script that needs KVM looks at the fact "kvm" in the output of --json. 1 if something failed. 2 if the'
            " command line is wrong, or FILE is no kernel config."
        ),
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.add_argument(
        "--kernel-config",
        type=Path,
        metavar="FILE",
        help="the config of a guest's kernel, as text or as in /proc/config.gz: say whether that kernel can do DAX",
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from daxmap.doctor.kernel_config import KernelConfigError, read
    from daxmap.doctor.run import doctor

    path: Path | None = arguments.kernel_config
    try:
        config = None if path is None else read(path)
    except OSError as error:
        complain(f"daxmap doctor: --kernel-config: {path}: {error.strerror}: name the config of a kernel")
        return 2
    except KernelConfigError as error:
        complain(f"daxmap doctor: --kernel-config: {path}: {error}")
        return 2
    return doctor(config, as_json=arguments.json)
