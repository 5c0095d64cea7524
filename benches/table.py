"""The table of figures, as text and in docs/contributing/performance.md."""

import os
import platform
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benches.compare import Figure

DOCUMENT = Path(__file__).parents[1] / "docs" / "contributing" / "performance.md"
BEGIN = "<!-- table: python -m benches --write -->"
END = "<!-- end of table -->"

_HEAD = ("what", "against", "median", "p10-p90", "bar", "met", "time of one", "of the floor")


def _cells(figure: Figure) -> tuple[str, ...]:
    met = {None: "", True: "yes", False: "NO"}[figure.met]
    return (
        figure.what,
        figure.against,
        _number(figure.median) + figure.unit,
        f"{_number(figure.low)}-{_number(figure.high)}",
        "" if figure.bar is None else _number(figure.bar) + figure.unit,
        met,
        _time(figure.contender),
        _time(figure.floor),
    )


def _number(value: float) -> str:
    return f"{value:.3g}" if value < 0.1 else f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    for scale, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * scale >= 1:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def as_text(figures: Sequence[Figure]) -> str:
    """The table for a terminal."""
    rows = [_HEAD, *(_cells(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    missed = [f"{figure.what}, against: {figure.against}" for figure in figures if figure.met is False]
    barred = sum(figure.bar is not None for figure in figures)
    lines += ["", f"{barred - len(missed)} of {barred} bars met" + "".join(f"\n  missed: {what}" for what in missed)]
    return "\n".join([*machine(), "", *lines, ""])


def as_markdown(figures: Iterable[Figure]) -> str:
    """The table for a document."""
    rows = [_HEAD, ("---",) * len(_HEAD), *(_cells(figure) for figure in figures)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def write(figures: Iterable[Figure]) -> Path:
    """Puts the table of today into the document, in place of the one that is there. Returns its path."""
    before, begin, rest = DOCUMENT.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{DOCUMENT} has no place for a table: {BEGIN} ... {END}")
    facts = "\n".join(f"- {line}" for line in machine())
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{facts}\n\n{as_markdown(figures)}\n\n{END}{after}")
    return DOCUMENT


def machine() -> list[str]:
    """What the figures depend on: day, machine, kernel, versions."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return [
        f"{datetime.now(UTC):%Y-%m-%d}, daxmap {version('daxmap')}, {python}, {_rust()}",
        f"{_processor()}, {os.cpu_count()} CPUs, {platform.system()} {platform.release()} {platform.machine()}",
    ]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "a processor without a name")


def _rust() -> str:
    compiler = shutil.which("rustc")
    if compiler is None:
        return "no Rust compiler"
    return subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
