"""Arguments near the edges, and what the models say of them: for the functions that the models are of."""

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from z3 import BitVecRef

from proof.books import Book, Mapping, Overlapped
from proof.host import HostRange
from proof.layouts import Wanted
from proof.models import Model
from proof.requests import MOST_REMOVALS, Removal
from proof.spans import DAX_RANGE, PAGES, Page, Span
from proof.subjects import MODELS
from proof.windows import Window
from proof.words import FILE_END
from support.paths import PROJECT

FILE = PROJECT / "rust/daxmap-core/tests/vectors/vectors.txt"
TRIES = 200
MOST = 12
"""So many vectors of a model grant something, and so many do not, if there are."""
HEAD = """\
# What the models of tests/proof say: a model, its arguments, and what they give, which is nothing for a refusal.
# Made by PYTHONPATH=tests python -m proof --write
"""

WORDS = 2**64
EDGES = (0, 1, PAGES[0], PAGES[2], DAX_RANGE, 1 << 32, FILE_END, WORDS - DAX_RANGE, WORDS - PAGES[2], WORDS - 1)


class Case(NamedTuple):
    """Arguments of a function, and what its model says of them."""

    arguments: list[int]
    said: list[int]

    @property
    def is_granted(self) -> bool:
        return self.said not in ([], [0])


class Draw:
    """Arguments of one call, drawn one by one: each near an edge, or near a sum or a difference of some before it."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.drawn: list[int] = []

    def word(self) -> int:
        """Half of them are multiples of all pages, as most arguments have to be."""
        near = self.random.choice(EDGES)
        if self.drawn and self.random.random() < 0.7:
            one, other = (self.random.choice([0, *self.drawn]) for _ in range(2))
            near = self.random.choice((one, one, one + other, one - other, WORDS - one, FILE_END - one))
        beside = near + self.random.choice((0, 0, 0, 1, -1, PAGES[0], -PAGES[2]))
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
    start = draw.word()
    end = draw.random.choice((draw.word(), start + 1, start + PAGES[0])) % WORDS
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
    count = draw.choice(0, 1, 2, MOST_REMOVALS, MOST_REMOVALS, MOST_REMOVALS + 1, MOST_REMOVALS + 1, 1 << 28)
    length = (4 + 16 * count) % (1 << 32) + draw.random.choice((0, 0, 0, 0, -1, 1, 8, -16))
    draw.take(max(0, length))


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


def draw_cases(model: Model) -> list[Case]:
    """The same ones each time; those at edges of their own before others like them."""
    random = Random(model.name)  # noqa: S311
    drawn = {}
    for _ in range(TRIES):
        draw = Draw(random)
        for kind in model.kinds:
            KINDS[kind](draw)
        drawn[tuple(draw.drawn)] = model(draw.drawn)
    alike = Counter[frozenset[tuple[int, int]]]()
    ranked = []
    for case in (Case(list(arguments), said) for arguments, said in drawn.items()):
        edges = _edges(model, case)
        ranked.append((alike[edges], case))
        alike[edges] += 1
    ranked.sort(key=lambda item: item[0])
    granted = [case for _, case in ranked if case.is_granted]
    refused = [case for _, case in ranked if not case.is_granted]
    return granted[:MOST] + refused[:MOST]


def _edges(model: Model, case: Case) -> frozenset[tuple[int, int]]:
    """The arguments, and the steps of each, that make a refusal of a grant, or a grant of a refusal."""
    found = set()
    for index, number in enumerate(case.arguments):
        for step in (1, -1, PAGES[2], -PAGES[2]):
            beside = [*case.arguments[:index], (number + step) % WORDS, *case.arguments[index + 1 :]]
            if Case(beside, model(beside)).is_granted != case.is_granted:
                found.add((index, step))
    return frozenset(found)


def write() -> None:
    """Writes the file of vectors."""
    lines = (_line(model, case) for model in sorted(MODELS, key=lambda model: model.name) for case in draw_cases(model))
    FILE.write_text(HEAD + "".join(f"{line}\n" for line in lines))


def _line(model: Model, case: Case) -> str:
    return " ".join([model.name, *map(hex, case.arguments), "=", *map(hex, case.said)])


def read() -> dict[str, list[Case]]:
    """The vectors in the file, by model."""
    found: dict[str, list[Case]] = {}
    for line in FILE.read_text().removeprefix(HEAD).splitlines():
        left, _, right = line.partition("=")
        name, *arguments = left.split()
        case = Case([int(number, 16) for number in arguments], [int(number, 16) for number in right.split()])
        found.setdefault(name, []).append(case)
    return found
