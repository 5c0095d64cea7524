"""What argparse lacks: errors in one line, and unknown options named first, with what was meant."""

import argparse
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Never, Protocol

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

__all__ = ["Commands", "Parser"]

# What argparse takes for a value though it begins with a dash: a negative number, and whatever has a space in it.
_VALUE = re.compile(r"-|-\d+|-\d*\.\d+|.* .*", re.DOTALL)


class Commands(Protocol):
    """What the module of a command adds its parser to: what argparse's `add_subparsers` returns, which has no name."""

    def add_parser(
        self,
        name: str,
        *,
        help: str,  # noqa: A002  # argparse calls it so
        description: str,
        epilog: str | None = None,
    ) -> "Parser":
        """Make the parser of a command."""


class Parser(argparse.ArgumentParser):
    """The parser of a command, or of a group of commands, which prints its help where none of them is named."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401  # argparse has their types
        super().__init__(**settings)
        self._commands: Mapping[str, Parser] | None = None
        self.set_defaults(run=self._show_help, parser=self)

    def add_commands(self) -> Commands:
        """Make this the parser of a group of commands."""
        commands = self.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
        self._commands = commands.choices
        return commands

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """The command line's values, or an exit with an error of the command that it names."""
        self.check_names(arguments)
        values, rest = self.parse_known_args(arguments)
        if rest:
            command: Parser = values.parser  # argparse would speak for the first of all parsers
            command.error(f"unexpected argument {rest[0]!r}; {command.prog} --help lists the arguments")
        return values

    def check_names(self, arguments: Sequence[str]) -> None:
        """Exit with an error for the first command or option that there is not.

        argparse would not say what it does not know before everything that is required is there, and never what was
        meant. It would take abbreviations, too: what is unique today may be ambiguous tomorrow.
        """
        for position, argument in enumerate(arguments):
            if argument == "--":
                return
            if argument.startswith("-") and not _VALUE.fullmatch(argument):
                name, equals, _ = argument.partition("=")
                option = self._option_string_actions.get(name)
                if option is None:
                    self._refuse("option", name, self._option_string_actions)
                if equals and option.nargs == 0:
                    self.error(f"{name} takes no value")
            elif self._commands is not None:
                command = self._commands.get(argument)
                if command is None:
                    self._refuse("command", argument, self._commands)
                command.check_names(arguments[position + 1 :])
                return

    def error(self, message: str) -> Never:
        """Exit with 2 and a line that says what is wrong with the command line."""
        self.exit(2, f"{self.prog}: {message.removeprefix('argument ')}\n")

    def _refuse(self, kind: str, name: str, known: Iterable[str]) -> Never:
        # Without the dashes, which all options share, and beginnings first: they may be meant as abbreviations.
        words, meant = {word.lstrip("-"): word for word in known}, name.lstrip("-")
        close = [word for word in words if word.startswith(meant)] or difflib.get_close_matches(meant, words, n=1)
        hint = f"did you mean {words[close[0]]}?" if close else f"{self.prog} --help lists the {kind}s"
        self.error(f"unknown {kind} {name}; {hint}")

    def _show_help(self, _: argparse.Namespace) -> int:
        self.print_help()
        return 0

    def _print_message(self, message: str, file: "SupportsWrite[str] | None" = None) -> None:
        """Print help, version or error. Some versions of argparse hide that a write has failed; this does not."""
        if file is not None:
            file.write(message)
