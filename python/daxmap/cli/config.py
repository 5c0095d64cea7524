"""The command `daxmap config`."""

import argparse
import sys
from pathlib import Path

from daxmap.cli.output import complain
from daxmap.cli.parser import Commands

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Add the command `config`, and `check` to it."""
    group = commands.add_parser(
        "config", help="check a configuration of shares", description="Checks a configuration of shares."
    )
    parser = group.add_commands().add_parser(
        "check",
        help="say whether a file is right, or which key is wrong",
        description=(
            "Reads a TOML file as daxmap.DaxConfig.from_toml_table does: its table [daxmap], beside others, or if there"
            " is none, the whole document."
        ),
        epilog="Exit code: 0 if it is right, 1 if not, 2 if it cannot be read.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="a TOML file")
    parser.set_defaults(run=_check)


def _check(arguments: argparse.Namespace) -> int:
    from daxmap.cli.config_file import read_config
    from daxmap.layout import WindowLayout
    from daxmap.sizes import format_size

    path: Path = arguments.file
    try:
        config = read_config(path)
        layout = WindowLayout.from_config(0, 0, config)  # wherever RAM ends: they must not be larger than all there is
    except OSError as error:
        complain(f"daxmap config check: {path}: {error.strerror}")
        return 2
    except ValueError as error:
        complain(f"daxmap config check: {path}: {error}")
        return 1
    shares = f"{len(layout)} share{'' if len(layout) == 1 else 's'}"
    size, cost = format_size(layout.size), format_size(layout.guest_ram_cost)
    sys.stdout.write(f"{path}: ok: {shares}, {size} of DAX windows, which cost the guest {cost} of RAM\n")
    return 0
