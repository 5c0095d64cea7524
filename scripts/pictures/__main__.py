"""Writes the pictures of the documentation, docs/pictures/*.svg.

    python scripts/pictures            # after a change of what they show, or of how daxmap draws
    python scripts/pictures --check    # fails if a picture is not what would be written

All of them say the same on every machine, so that they can be compared.
"""

import argparse
import sys
from pathlib import Path

import chart
import examples
import life
import memory
import sequence

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "pictures"
FIGURES = ROOT / "docs" / "explanation" / "performance.md"


def pictures() -> dict[str, str]:
    """Each picture by the name of its file."""
    return {
        "memory.svg": memory.drawing(),
        "sequence.svg": sequence.drawing(),
        "life.svg": life.drawing(),
        "window.svg": examples.window(),
        "layout.svg": examples.layout(),
        "performance.svg": chart.drawing(chart.figures(FIGURES.read_text())),
    }


def main() -> int:
    """Write the pictures, or compare them; the exit code."""
    parser = argparse.ArgumentParser(description="Write the pictures of the documentation.")
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    check = parser.parse_args().check
    stale = []
    for name, picture in pictures().items():
        file, text = PICTURES / name, picture + "\n"
        if file.exists() and file.read_text() == text:
            continue
        stale.append(str(file.relative_to(ROOT)))
        if not check:
            file.write_text(text)
    if check and stale:
        print(f"{', '.join(stale)}: not what would be drawn now; run python scripts/pictures")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
