"""The `daxmap` command."""

import argparse
import os
import sys
from collections.abc import Sequence

from daxmap import __version__
from daxmap.demo.choice import GUESTS
from daxmap.demo.run import demo


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; argparse itself exits with 2 for a bad command line.

    Args:
        argv: the arguments after the command's name; None for those of the process.
    """
    parser = argparse.ArgumentParser(
        prog="daxmap", description="virtiofs DAX for virtual machine monitors: host files in guest memory."
    )
    parser.add_argument("--version", action="version", version=f"daxmap {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")
    demo_parser = commands.add_parser(
        "demo",
        help="show a guest reading and writing host files through its DAX window",
        description=(
            "Starts a tiny guest, maps two files of a temporary directory into its DAX window, and lets guest code"
            " copy one to the other by load and store. Tells step by step what happens. Nothing is left behind."
        ),
        epilog="Exit code: 0 if every byte was right, 1 if not, 2 if the guest asked for cannot be had.",
    )
    demo_parser.add_argument(
        "--guest",
        choices=GUESTS,
        help=(
            "what runs the guest code: KVM, the emulator unicorn (pip install 'daxmap[demo]'), or nothing, and the"
            " host reads and writes the window instead. Default: the first of these that can be had"
        ),
    )
    demo_parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    arguments = parser.parse_args(argv)
    try:
        code = demo(arguments.guest, as_json=arguments.json)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of the output has left; without this, the flush at exit would fail and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code
