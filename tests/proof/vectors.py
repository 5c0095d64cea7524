"""Arguments near the edges, and what the models say of them: for the functions that the models are of."""

from collections.abc import Callable
from random import Random

from z3 import BitVecRef

from proof.books import Book, Mapping, Overlapped
from proof.host import HostRange
from proof.layouts import Wanted
from proof.models import Model, places
from proof.requests import LONGEST_BODY, MOST_REMOVALS, Removal
from proof.spans import DAX_RANGE, PAGES, Page, Span
from proof.subjects import MODELS
from proof.windows import Window
from proof.words import FILE_END
from support.paths import PROJECT

FILE = PROJECT / "rust/daxmap-core/tests/vectors/vectors.txt"
TRIES = 60
MOST = 12
"""Vectors of a model that grant something, and so many that do not."""
HEAD = """\
# What the models of tests/proof say: a model, its arguments, and what they give, which is nothing for a refusal.
# Made by PYTHONPATH=tests python -m proof --write
"""

WORDS = 2**64
EDGES = (0, 1, PAGES[0], PAGES[2], DAX_RANGE, 1 << 32, FILE_END, WORDS - DAX_RANGE, WORDS - PAGES[2], WORDS - 1)


class Draw:
    """Arguments of one call, drawn one by one: each near an edge, or near one that was drawn before."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.drawn: list[int] = []

    def word(self) -> int:
        """Half of them are multiples of all pages, as most arguments have to be."""
        before = self.drawn
        differences = [high - low for high in before for low in before if high > low]
        to_the_top = [top - number for number in before for top in (FILE_END, WORDS)]
        near = self.random.choice([*EDGES, *before, *to_the_top, *differences])
        below = self.random.randrange(max(1, min(before, default=1)))
        beside = self.random.choice((near, near, near + 1, near - 1, near + PAGES[0], below))
        unit = self.random.choice((1, PAGES[2]))
        return self.take(beside % WORDS // unit * unit)

    def choice(self, *numbers: int) -> int:
        return self.take(self.random.choice(numbers))

    def take(self, number: int) -> int:
        self.drawn.append(number)
        return number

    def three_spans(self) -> list[int]:
        """Starts and ends of three ranges, in order and disjoint; of which some touch."""
        end = self.random.choice((0, DAX_RANGE, WORDS - 256))
        for _ in range(3):
            start = self.take(end + self.random.choice((0, 0, 3)))
            end = self.take(start + self.random.choice((1, 8, 60)))
        return self.drawn[-6:]


def span(draw: Draw) -> None:
    start, end = draw.word(), draw.word()
    draw.drawn[-2:] = sorted((start, end)) if start != end else (start & -2, start | 1)


def window(draw: Draw) -> None:
    base = draw.choice(0, PAGES[2], 1 << 32, 1 << 63, WORDS - DAX_RANGE, WORDS - PAGES[2])
    most = min(WORDS - base, WORDS - PAGES[2])
    draw.choice(*(size for size in (PAGES[2], DAX_RANGE, 1 << 40, most) if size <= most))
    draw.choice(*PAGES)


def mapping(draw: Draw) -> None:
    length = draw.random.choice((PAGES[2], DAX_RANGE, 3 * PAGES[0], 1))
    start = draw.random.choice((0, DAX_RANGE, 1 << 40, WORDS - 1 - DAX_RANGE))
    draw.take(start)
    draw.take(start + length)
    draw.take(draw.random.choice((0, PAGES[2], 1 << 40, FILE_END - length)))


def overlapped(draw: Draw) -> None:
    book = draw.three_spans()
    draw.take(draw.random.randrange(max(0, book[0] - 2), book[1]))
    draw.take(draw.random.randrange(book[4] + 1, min(book[5] + 3, WORDS)))


def removal(draw: Draw) -> None:
    count = draw.choice(0, 1, 2, MOST_REMOVALS, MOST_REMOVALS + 1, 1 << 28, (1 << 32) - 1)
    length = (4 + 16 * count) % (1 << 32) + draw.random.choice((0, 0, 0, -1, 1, -4, 8, 16, -16))
    draw.take(max(0, min(length, LONGEST_BODY + 32)))


def host_range(draw: Draw) -> None:
    start = draw.choice(PAGES[0], DAX_RANGE, 1 << 47)
    draw.take(draw.random.choice((0, PAGES[0], DAX_RANGE, WORDS - 1 - start)))


def wanted(draw: Draw) -> None:
    ram_base = draw.choice(0, 1 << 31, 1 << 40, WORDS - 5 * DAX_RANGE, WORDS - 1)
    draw.choice(0, 1, 1 << 30, DAX_RANGE - 1, DAX_RANGE, WORDS - 1 - ram_base)
    for _ in range(3):
        draw.choice(DAX_RANGE, 64 * DAX_RANGE, 1 << 35, 1 << 62)
    draw.choice(36, 40, 48, 64, 64)


KINDS: dict[type, Callable[[Draw], object]] = {
    BitVecRef: Draw.word,
    Book: Draw.three_spans,
    HostRange: host_range,
    Mapping: mapping,
    Overlapped: overlapped,
    Page: lambda draw: draw.choice(*PAGES),
    Removal: removal,
    Span: span,
    Wanted: wanted,
    Window: window,
}


def cases(model: Model) -> list[tuple[list[int], list[int]]]:
    """Arguments of a call, and what the model says of it: the same ones each time, grants and refusals."""
    random = Random(model.name)  # noqa: S311
    granted: dict[tuple[int, ...], list[int]] = {}
    refused: dict[tuple[int, ...], list[int]] = {}
    for _ in range(TRIES):
        draw = Draw(random)
        for kind in model.kinds:
            KINDS[kind](draw)
        said = model(draw.drawn)
        found = refused if said in ([], [0]) else granted
        if len(found) < MOST:
            found[tuple(draw.drawn)] = said
    return [(list(arguments), said) for arguments, said in (*granted.items(), *refused.items())]


def of_rust() -> list[Model]:
    """The models of Rust functions, by name."""
    models = (model for model in MODELS if all(file.endswith(".rs") for file, _ in places(model.function)))
    return sorted(models, key=lambda model: model.name)


def text() -> str:
    """The file of vectors."""
    lines = (_line(model, *case) for model in of_rust() for case in cases(model))
    return HEAD + "".join(f"{line}\n" for line in lines)


def _line(model: Model, arguments: list[int], said: list[int]) -> str:
    return " ".join([model.name, *map(hex, arguments), "=", *map(hex, said)])
