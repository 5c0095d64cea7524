"""What was measured, as tables: printed, and with --write put into the page for users."""

import statistics
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from linux_guest.bench.memory import Memory
from linux_guest.bench.mounts import DAX, MARKED, PLAIN, SMALL, SMALL_WINDOW, VIRTIOFSD, WINDOW, Mount
from linux_guest.bench.work import FEW_FILES, FILES, ORDERS, SIZES, Seconds
from linux_guest.rig import MIB
from support.paths import PROJECT

PAGE = PROJECT / "docs/explanation/performance.md"
BEGIN = "<!-- guest: make bench-guest ARGS=--write -->"
END = "<!-- end of guest -->"


def tables(facts: Sequence[str], seconds: Seconds, memory: Memory) -> str:
    """All of it, in Markdown."""
    small, large = SMALL_WINDOW // MIB, WINDOW // MIB
    return "\n\n".join(
        [
            "\n".join(f"- {fact}" for fact in (f"{datetime.now(UTC):%Y-%m-%d}", *facts)),
            _table(("a file of 64 MiB", "DAX / without", "DAX / virtiofsd"), _large_file(seconds)),
            _table(
                ("the same, again and again", f"window of {small} / of {large} MiB", f"{small} MiB / without"),
                _window(seconds),
            ),
            _table((f"{FILES:,} files of 4 KiB, each once", "/ without", "/ virtiofsd"), _small_files(seconds)),
            _table(("DAX / without, files of", "first time", "second time", "more than fit, again"), _sizes(seconds)),
            _table(("a second guest that reads the same 64 MiB", "RAM of its own"), _memory(memory)),
        ]
    )


def write(text: str) -> Path:
    """Put it into the page in place of what is there."""
    before, begin, rest = PAGE.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{PAGE} has no place for it: {BEGIN} ... {END}")
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")
    return PAGE


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *rows))


def _ratio(of: dict[Mount, list[float]], one: Mount, other: Mount) -> str:
    """The median of the rounds' ratios, and the least and the most."""
    ratios = [a / b for a, b in zip(of[one], of[other], strict=True)]
    return f"{_number(statistics.median(ratios))} ({_number(min(ratios))}-{_number(max(ratios))})"


def _number(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _large_file(seconds: Seconds) -> Iterator[tuple[str, ...]]:
    for how in ("mmap", "read"):
        for order in ORDERS:
            for state in ("cold", "warm"):
                of = seconds[f"{order}, {how}, {state}"]
                yield f"{order}, {how}, {state}", _ratio(of, DAX, PLAIN), _ratio(of, DAX, VIRTIOFSD)


def _window(seconds: Seconds) -> Iterator[tuple[str, ...]]:
    for order in ORDERS:
        of = seconds[f"{order}, again"]
        yield f"{order}, mmap", _ratio(of, SMALL, DAX), _ratio(of, SMALL, PLAIN)


def _small_files(seconds: Seconds) -> Iterator[tuple[str, ...]]:
    of = seconds["a small file"]
    names = {DAX: f"`dax=always`, {FEW_FILES} a round", MARKED: "`dax=inode` with the default of `min_size`"}
    for mount, name in names.items():
        yield name, _ratio(of, mount, PLAIN), _ratio(of, mount, VIRTIOFSD)


def _sizes(seconds: Seconds) -> Iterator[tuple[str, ...]]:
    for size in SIZES:
        states = (seconds[f"{size}, {state}"] for state in ("first", "second", "crowded"))
        yield f"{size // 1024} KiB", *(_ratio(of, DAX, PLAIN) for of in states)


def _memory(memory: Memory) -> Iterator[tuple[str, ...]]:
    for mount, mib in memory.items():
        yield mount.name, f"{mib:.1f} MiB"
