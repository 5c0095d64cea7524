"""The command `daxmap completion`."""

import argparse
import sys

from daxmap.cli.output import complain
from daxmap.cli.parser import Commands

__all__ = ["add"]


def add(commands: Commands, parser: argparse.ArgumentParser) -> None:
    """Add the command `completion`, for the command line of a parser."""
    command = commands.add_parser(
        "completion",
        help="print a script with which a shell completes command lines",
        description=(
            "Prints a script for a shell, which then completes commands, options and files."
            " It takes shtab: pip install 'daxmap[completion]'."
        ),
        epilog='bash: eval "$(daxmap completion bash)". Exit code: 2 if shtab is not installed.',
    )
    command.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="the shell")
    command.set_defaults(run=lambda arguments: _completion(parser, arguments.shell))


def _completion(parser: argparse.ArgumentParser, shell: str) -> int:
    try:
        import shtab
    except ImportError as error:
        complain(f"daxmap completion: {error} (pip install 'daxmap[completion]')")
        return 2
    _mark_files(parser, {"DIR": shtab.DIRECTORY, "FILE": shtab.FILE, "PATH": shtab.FILE})
    sys.stdout.write(f"{shtab.complete(parser, shell)}\n")
    return 0


def _mark_files(parser: argparse.ArgumentParser, kinds: dict[str, object]) -> None:
    """Tell shtab which arguments are files: by what help calls them, of the parser and of its commands."""
    for action in parser._actions:  # noqa: SLF001  # as shtab itself finds them
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for command in action.choices.values():
                _mark_files(command, kinds)
        elif action.metavar in kinds:
            action.complete = kinds[action.metavar]  # type: ignore[attr-defined]  # the attribute is shtab's
