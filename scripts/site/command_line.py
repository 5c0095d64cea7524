"""The reference of the command, made of its parsers."""

import argparse
import os
from collections.abc import Iterator
from unittest import mock

from daxmap.cli import command_line

__all__ = ["reference"]


def reference() -> str:
    """A section for each command, as Markdown."""
    with mock.patch.dict(os.environ, {"COLUMNS": "90", "NO_COLOR": "1"}):
        return "\n\n".join(_section(parser) for parser in _parsers(command_line()))


def _parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of its commands, in the order in which they are listed."""
    yield parser
    for action in parser._actions:  # noqa: SLF001  # argparse has no other way to its arguments
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for command in action.choices.values():
                yield from _parsers(command)


def _section(parser: argparse.ArgumentParser) -> str:
    usage = parser.format_usage().removeprefix("usage: ").rstrip()
    parts = [f"## {parser.prog}", parser.description or "", f"```text\n{usage}\n```"]
    rows = [_row(action, parser) for action in parser._actions if not _is_obvious(action)]  # noqa: SLF001
    if rows:
        parts.append("\n".join(["| argument | |", "| --- | --- |", *rows]))
    if parser.epilog:
        parts.append(parser.epilog)
    return "\n\n".join(filter(None, parts))


def _is_obvious(action: argparse.Action) -> bool:
    """Whether it is the choice of a command, each of which has a section, or `--help`."""
    return isinstance(action, argparse._SubParsersAction | argparse._HelpAction)  # noqa: SLF001


def _row(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    """A line of the table of arguments."""
    formatter = parser._get_formatter()  # noqa: SLF001
    value = "" if action.nargs == 0 else formatter._format_args(action, str(action.metavar or action.dest.upper()))  # noqa: SLF001
    names = action.option_strings or [value]
    told = formatter._expand_help(action) if action.help else ""  # noqa: SLF001
    shown = ", ".join(
        f"`{name} {value}`".replace(" `", "`") if action.option_strings else f"`{name}`" for name in names
    )
    cells = (shown, f"**required**; {told}" if action.required and action.option_strings else told)
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"
