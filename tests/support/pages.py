"""Pages of the documentation, as programs that run what they show.

Of a page every ```python block runs, in order, in one namespace, in an empty directory, where warnings are errors. A
```console block runs if the output that it leads to is shown. `<!-- output -->` before a ```text block says that the
block before printed it; `...` stands for anything on a line. `<!-- not run: reason -->` before a block says why not.
"""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

from support.paths import PROJECT

DOCS = PROJECT / "docs"
END_OF_BLOCK = "\x1e"
"""What the program of a page prints after each block that runs."""

_FRONT_MATTER = re.compile(r"---\n(.*?)^---\n", re.DOTALL | re.MULTILINE)
_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,})(?P<language>[\w-]*).*$")
_REMARK = re.compile(r"^\s*<!-- (?P<remark>output|not run: \S.*) -->\s*$")


@dataclass(frozen=True)
class Block:
    """A block of code: its language, its text, the line of its opening fence from 1 on, and the remark before it."""

    language: str
    text: str
    line: int
    remark: str | None

    @property
    def last_line(self) -> int:
        """The line of its closing fence."""
        return self.line + self.text.count("\n") + 1


@dataclass(frozen=True)
class Step:
    """A block that runs, and what it is to print, if the page shows that."""

    block: Block
    output: str | None


@dataclass(frozen=True)
class Page:
    path: Path
    needs: str | None
    blocks: tuple[Block, ...]

    @property
    def steps(self) -> list[Step]:
        """What runs, in order.

        Raises:
            ValueError: An output follows no block that runs.
        """
        steps: list[Step] = []
        before: Block | None = None
        for block in self.blocks:
            runs = block.language in ("python", "console") and block.remark is None
            if block.remark == "output":
                if before is None or block.language != "text":
                    raise ValueError(f"{self.path}:{block.line}: an output of nothing that runs, or not in ```text")
                if before.language == "python":
                    steps.pop()
                steps.append(Step(before, block.text))
            elif runs and block.language == "python":
                steps.append(Step(block, None))
            before = block if runs else None
        return steps

    def program(self) -> str:
        """A Python program with each block on the lines that it has on the page."""
        lines = [""] * (max((block.last_line for block in self.blocks), default=0) + 1)
        lines[0] = "import subprocess as _subprocess"
        for step in self.steps:
            block = step.block
            code = block.text.splitlines()
            if block.language == "console":
                code = [_run(command) for command in commands(block)]
            lines[block.line : block.line + len(code)] = code
            lines[block.last_line - 1] = f"print({END_OF_BLOCK!r}, end='', flush=True)"
        return "\n".join(lines) + "\n"


def _run(command: str) -> str:
    return f"_subprocess.run({command!r}, shell=True, check=True)"


def commands(block: Block) -> list[str]:
    """The commands of a ```console block: its lines that begin with a prompt, and those that they go on in."""
    joined = block.text.replace("\\\n", " ")
    return [line.removeprefix("$ ") for line in joined.splitlines() if line.startswith("$ ")]


def read_page(path: Path) -> Page:
    """Read a page of Markdown."""
    text = path.read_text()
    front = _FRONT_MATTER.match(text)
    needs = re.search(r"^needs: (\w+)$", front[1], re.MULTILINE) if front else None
    blocks: list[Block] = []
    lines = text.splitlines()
    number, remark = 0, None
    while number < len(lines):
        opened = _FENCE.match(lines[number])
        if opened is None:
            said = _REMARK.match(lines[number])
            remark = said["remark"] if said else remark if not lines[number].strip() else None
            number += 1
            continue
        first = number
        closing = opened["indent"] + opened["fence"]
        number += 1
        while lines[number] != closing:
            number += 1
        code = textwrap.dedent("".join(f"{line}\n" for line in lines[first + 1 : number]))
        blocks.append(Block(opened["language"], code, first + 1, remark))
        number, remark = number + 1, None
    return Page(path, needs[1] if needs else None, tuple(blocks))


def matches(shown: str, printed: str) -> bool:
    """Whether a page shows what was printed: `...` stands for anything on a line."""
    pattern = "[^\n]*".join(re.escape(part) for part in shown.split("..."))
    return re.fullmatch(pattern, printed) is not None


def pages() -> list[Path]:
    """Every page of the site."""
    return sorted(DOCS.rglob("*.md"))
