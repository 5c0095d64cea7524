"""Facts as text and as JSON."""

import json
import textwrap
from collections import Counter
from collections.abc import Sequence

from daxmap.doctor.fact import Fact

__all__ = ["as_json", "as_text", "succeeded"]

_COLOURS = {"ok": "32", "warn": "33", "fail": "31"}  # green, yellow, red: ECMA-48, SGR
_NARROWEST, _WIDEST = 40, 100
_COLUMN = 40  # details that have less room than this begin a line of their own
_STATE = 6


def succeeded(facts: Sequence[Fact]) -> bool:
    """Whether nothing failed."""
    return all(fact.state != "fail" for fact in facts)


def as_json(facts: Sequence[Fact]) -> str:
    """One JSON object: `ok`, and the `facts`, each with `name`, `state`, `detail`, and a `remedy` or null."""
    told = [{"name": f.name, "state": f.state, "detail": f.detail, "remedy": f.remedy} for f in facts]
    return json.dumps({"ok": succeeded(facts), "facts": told}, indent=2)


def as_text(host: Sequence[Fact], kernel: Sequence[Fact] = (), *, width: int, colour: bool) -> str:
    """A line a fact, and one for what to do about it; then how it is in all.

    Args:
        host: what was found of this host.
        kernel: what was found of a guest's kernel; empty if none was asked about.
        width: columns of the terminal. Lines have 100 at most.
        colour: whether states are coloured, by escape sequences.
    """
    width = max(_NARROWEST, min(width, _WIDEST))
    facts = [*host, *kernel]
    names = max(len(fact.name) for fact in facts) + 2
    lines = [line for fact in facts for line in _lines(fact, names, width, colour=colour)]
    return "\n".join([*lines, "", *_filled(_summary(host, kernel), width)])


def _lines(fact: Fact, names: int, width: int, *, colour: bool) -> list[str]:
    head = f"{fact.state:<{_STATE}}{fact.name:<{names}}"
    beside = width - len(head) >= _COLUMN
    indent = " " * (len(head) if beside else _STATE)
    lines = _filled(fact.detail, width, indent)
    if beside:
        lines[0] = head + lines[0][len(head) :]
    else:
        lines.insert(0, head.rstrip())
    if fact.remedy is not None:
        lines += _filled(fact.remedy, width, f"{indent}-> ", f"{indent}   ")
    if colour:
        lines[0] = f"\x1b[{_COLOURS[fact.state]}m{fact.state}\x1b[0m{lines[0].removeprefix(fact.state)}"
    return lines


def _filled(text: str, width: int, first: str = "", rest: str | None = None) -> list[str]:
    """A paragraph's lines. A path or a command's word in it stays in one piece, to be copied."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=first if rest is None else rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _summary(host: Sequence[Fact], kernel: Sequence[Fact]) -> str:
    verdicts = ["daxmap can do its work here" if succeeded(host) else "daxmap can't do its work here"]
    if kernel:
        verdicts.append("the guest's kernel can do DAX" if succeeded(kernel) else "the guest's kernel can't do DAX")
    facts = [*host, *kernel]
    failed = "" if succeeded(facts) else ": see what failed"
    counts: Counter[str] = Counter(fact.state for fact in facts)
    return f"{'; '.join(verdicts)}{failed}. {', '.join(f'{counts[state]} {state}' for state in _COLOURS)}."
