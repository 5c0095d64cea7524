"""Says of each file how many of its lines no test runs, and fails for those that need a test.

    python scripts/uncovered.py REPORT...

The reports are of lcov's format; a line is run if any of them says so. In the files and folders of NEEDED every line
needs a test, but for those that tests/uncovered.toml lists with their reason. An entry there which is no such line, or
none any more, is a failure too. The tests in a file of Rust don't count.
"""

import sys
import tomllib
from collections import defaultdict
from itertools import groupby
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
LISTED = "tests/uncovered.toml"
CORE = "rust/daxmap-core/src"
NEEDED = (
    *(f"{CORE}/{name}" for name in ("addr.rs", "backend/", "book.rs", "budget.rs", "fuse/", "mapper/", "window.rs")),
    "rust/daxmap-virtiofs/src/",
    "python/daxmap/",
)
CHANCE = "by chance: "
"""How the reason of a line begins that some runs of the tests come to, and others not."""
Counts = dict[str, dict[int, int]]
"""How often lines were run: by file, then by number."""


def read(reports: list[str]) -> Counts:
    """What the reports say together: a line was run as often as in all of them."""
    counts: Counts = defaultdict(lambda: defaultdict(int))
    for report in reports:
        file = ""
        for record in Path(report).read_text().splitlines():
            kind, _, value = record.partition(":")
            if kind == "SF":
                file = str((PROJECT / value).relative_to(PROJECT))
            elif kind == "DA":
                number, count = value.split(",")[:2]
                counts[file][int(number)] += int(count)
    return {file: without_tests(file, lines) for file, lines in sorted(counts.items())}


def without_tests(file: str, lines: dict[int, int]) -> dict[int, int]:
    """The lines before a file's module of tests, which is its last item."""
    source = text(file)
    ends = (
        number
        for number, line in enumerate(source)
        if line.startswith("#[cfg(") and source[number + 1] == "mod tests {"
    )
    end = next(ends, len(source))
    return {number: count for number, count in lines.items() if number <= end}


def text(file: str) -> list[str]:
    """A file's lines."""
    return (PROJECT / file).read_text().splitlines()


def missed(lines: dict[int, int]) -> list[int]:
    """The numbers of lines that were not run."""
    return sorted(number for number, count in lines.items() if count == 0)


def ranges(numbers: list[int]) -> str:
    """Numbers, in few words: 3, 7-9."""
    steps = groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])
    runs = [[number for _, number in run] for _, run in steps]
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def print_table(counts: Counts) -> None:
    """A line for each file, and one for all."""
    rows = [(file, len(lines), missed(lines)) for file, lines in counts.items()]
    width = max(len(file) for file, _, _ in rows)
    print(f"{'file':{width}} {'lines':>6} {'missed':>6}")
    for file, number, gaps in rows:
        print(f"{file:{width}} {number:6} {len(gaps):6}  {ranges(gaps)}".rstrip())
    print(f"{'all':{width}} {sum(row[1] for row in rows):6} {sum(len(row[2]) for row in rows):6}")


def complaints(counts: Counts, listed: dict[str, dict[str, str]]) -> list[str]:
    """What has to be done: a line each."""
    found = []
    for file, lines in counts.items():
        if not file.startswith(NEEDED):
            continue
        source = text(file)
        gaps = {number: source[number - 1].strip() for number in missed(lines)}
        reasons = listed.get(file, {})
        if gaps and "*" in reasons:
            continue
        found += [f"{file}:{number}: no test runs it: {line}" for number, line in gaps.items() if line not in reasons]
        stale = {line for line, reason in reasons.items() if not reason.startswith(CHANCE)} - set(gaps.values())
        found += [f"{LISTED}: {file} has no such line, or tests run it: {line}" for line in sorted(stale)]
    unknown = [file for file in listed if file not in counts or not file.startswith(NEEDED)]
    return found + [f"{LISTED}: {file} is no file that was measured and needs to be" for file in unknown]


def main() -> int:
    """Prints the table, then what is wrong."""
    counts = read(sys.argv[1:])
    print_table(counts)
    found = complaints(counts, tomllib.loads((PROJECT / LISTED).read_text()))
    print("\n" + "\n".join(found or ["coverage: all lines that need a test have one, or are in " + LISTED]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
