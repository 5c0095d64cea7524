"""The `daxmap` command.

Each command has a module with its command line, `add`, which imports what the command runs only when it runs: help and
completion need none of it.

| module                      | duty                                                            |
|-----------------------------|-----------------------------------------------------------------|
| `parser`                    | what argparse lacks: one line for an error, with what was meant |
| `values`                    | what options take                                               |
| `output`                    | outputs that cannot be written to                               |
| `demo`, `doctor`, `serve`   | command lines of `daxmap.demo`, `daxmap.doctor`, `daxmap.serve` |
| `layout`, `layout_report`   | where windows lie, as a table and as a drawing                  |
| `config`, `config_file`     | configurations in TOML                                          |
| `completion`                | scripts for shells                                              |
"""

import sys
from collections.abc import Sequence

from daxmap import __version__
from daxmap.cli import completion, config, demo, doctor, layout, serve
from daxmap.cli.output import complain, flush, prepare
from daxmap.cli.parser import Parser

__all__ = ["command_line", "main"]

_INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; argparse itself exits with 2 for a bad command line.

    Without a command it prints its help, and succeeds. Ctrl-C is 130. An output that cannot be written to is 1, with a
    line that says why, or none if its reader has left.

    Args:
        argv: the arguments after the command's name; None for those of the process.
    """
    if sys.stdout is None:  # as `>&-` leaves it: the next file to be opened would take its place
        complain("daxmap: standard output is closed")
        return 1
    prepare()
    try:
        try:
            return _run(argv)
        finally:
            flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        complain(f"daxmap: {where}{error.strerror or error}")
        return 1


def command_line() -> Parser:
    """Make the parser of the command, with those of all its commands."""
    parser = Parser(
        prog="daxmap",
        description="virtiofs DAX for virtual machine monitors: host files in guest memory.",
        epilog="daxmap COMMAND --help says more.",
    )
    parser.add_argument("--version", action="version", version=f"daxmap {__version__}")
    commands = parser.add_commands()
    for command in (demo, doctor, serve, layout, config):
        command.add(commands)
    completion.add(commands, parser)
    return parser


def _run(argv: Sequence[str] | None) -> int:
    arguments = command_line().parse(sys.argv[1:] if argv is None else argv)
    code: int = arguments.run(arguments)
    return code
