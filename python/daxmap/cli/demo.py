"""The command line of `daxmap demo`."""

import argparse

from daxmap.cli.parser import Commands

__all__ = ["GUESTS", "add"]

GUESTS = ("kvm", "unicorn", "none")
"""Those of `daxmap.demo.choice`, which help and completion need not import."""


def add(commands: Commands) -> None:
    """Add the command `demo`."""
    parser = commands.add_parser(
        "demo",
        help="show a guest reading and writing host files through its DAX window",
        description=(
            "Starts a tiny guest, maps two files of a temporary directory into its DAX window, and lets guest code"
            " copy one to the other by load and store. Tells step by step what happens. Nothing is left behind."
        ),
        epilog="Exit code: 0 if every byte was right, 1 if not, 2 if the guest asked for cannot be had.",
    )
    parser.add_argument(
        "--guest",
        choices=GUESTS,
        help=(
            "what runs the guest code: KVM, the emulator unicorn (pip install 'daxmap[demo]'), or nothing, and the"
            " host reads and writes the window instead. Default: the first of these that can be had"
        ),
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.set_defaults(run=_demo)


def _demo(arguments: argparse.Namespace) -> int:
    from daxmap.demo.run import demo

    return demo(arguments.guest, as_json=arguments.json)
