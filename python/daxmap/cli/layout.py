"""The command `daxmap layout`."""

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from daxmap.checks import check_int
from daxmap.cli.output import complain
from daxmap.cli.parser import Commands
from daxmap.cli.values import address, refused, size, whole_number

if TYPE_CHECKING:
    from daxmap.config import ShareConfig

__all__ = ["add"]

_SLOTS = 2**32
_LIKE_A_SHARE = re.compile(r".*=\d+ ?[KMGT]i?B?(:ro)?", re.DOTALL)


def add(commands: Commands) -> None:
    """Add the command `layout`."""
    parser = commands.add_parser(
        "layout",
        help="show where the DAX windows of a guest's shares lie in its physical address space",
        description=(
            "Places DAX windows above a guest's RAM, as daxmap.WindowLayout does, and prints a table of them, a drawing"
            " of the address space, and what to give to KVM_SET_USER_MEMORY_REGION."
        ),
        epilog="SIZE is a whole number and KiB, MiB, GiB or TiB. Exit code: 2 if there can be no such layout.",
    )
    add = parser.add_argument
    add("file", type=_file, nargs="?", metavar="FILE", help="a TOML file of shares, as daxmap config check reads it")
    add("--ram", type=size, required=True, metavar="SIZE", help="the guest's RAM; of several pieces the highest one")
    add("--ram-base", type=address, default=0, metavar="ADDRESS", help="where RAM begins; default: 0")
    add(
        "--share",
        type=_share,
        action="append",
        dest="shares",
        default=[],
        metavar="SHARE",
        help="a share and its window's size: TAG=SIZE, or TAG=SIZE:ro if it is read-only; once for each",
    )
    add(
        "--phys-bits",
        type=whole_number(1, 64),
        metavar="N",
        help="physical address bits that the guest has: nothing may lie beyond",
    )
    add(
        "--slot",
        type=whole_number(0, _SLOTS - 1),
        default=1,
        metavar="N",
        help="KVM memory slot of the first window; default: 1",
    )
    add("--json", action="store_true", help="print one JSON object instead of text")
    parser.set_defaults(run=_layout)


def _layout(arguments: argparse.Namespace) -> int:
    from daxmap.cli.layout_report import Report
    from daxmap.layout import WindowLayout

    try:
        layout = WindowLayout(
            arguments.ram_base, arguments.ram, _shares(arguments.file, arguments.shares), phys_bits=arguments.phys_bits
        )
        check_int("--slot", arguments.slot, high=_SLOTS - len(layout))
    except OSError as error:
        complain(f"daxmap layout: {error.filename}: {error.strerror}")
        return 2
    except ValueError as error:
        complain(f"daxmap layout: {error}")
        return 2
    report = Report(layout, arguments.ram_base, arguments.ram, arguments.phys_bits, arguments.slot)
    sys.stdout.write(report.as_json() if arguments.json else report.as_text())
    return 0


def _shares(file: Path | None, shares: "list[ShareConfig]") -> "tuple[ShareConfig, ...]":
    if file is None:
        if not shares:
            raise ValueError("no shares: give --share TAG=SIZE for each of them, or a FILE")
        tags = [share.tag for share in shares]
        for tag in tags:
            if tags.count(tag) > 1:
                raise ValueError(f"--share: {tag!r} is the tag of more than one")
        return tuple(shares)
    if shares:
        raise ValueError("the shares come from --share or from a FILE, not from both")
    from daxmap.cli.config_file import read_config

    try:
        return read_config(file).shares
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def _file(text: str) -> Path:
    if _LIKE_A_SHARE.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is a share: each share needs its own --share")
    return Path(text)


def _share(text: str) -> "ShareConfig":
    from daxmap.config import ShareConfig

    tag, equals, rest = text.rpartition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not TAG=SIZE or TAG=SIZE:ro")
    window = rest.removesuffix(":ro")
    with refused("tag"):
        return ShareConfig(tag, window, readonly=window != rest)
