"""Two ways to do the same, timed in turn, round by round: what disturbs the machine disturbs both."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol, TypeVar

Timed = Callable[[], float]
"""Does something, and returns how many seconds each operation of it took."""

Times = list[tuple[float, float]]
"""Seconds that an operation took contender and floor, round by round."""

T = TypeVar("T")

ROUNDS = 1000
WARM_UP = 5
"""Rounds that are not counted."""


@dataclass(frozen=True)
class Figure:
    """One line of the table: the median of many rounds and their spread.

    Attributes:
        what: The contender.
        against: The floor.
        median: Of the ratios of contender to floor; or of times, if there is a `unit`.
        low: A tenth of the rounds lie below.
        high: A tenth of the rounds lie above.
        bar: What the median is to be at most, if anything.
        unit: Nothing for a ratio.
        contender: Seconds an operation takes, for reference: a median.
        floor: The same of the floor.
    """

    what: str
    against: str
    median: float
    low: float
    high: float
    bar: float | None = None
    unit: str = ""
    contender: float | None = None
    floor: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the bar is met, if there is one."""
        return None if self.bar is None else self.median <= self.bar


def spread(values: Sequence[float], parts: int = 10) -> tuple[float, float, float]:
    """First tenth, median and last tenth of some values; or first and last of another number of parts."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    cuts = statistics.quantiles(values, n=parts, method="inclusive")
    return cuts[0], statistics.median(values), cuts[-1]


class Benchmark(Protocol):
    """What is used of pytest-benchmark's fixture, which has no types."""

    extra_info: dict[str, object]

    def pedantic(self, target: Callable[[], object], *, rounds: int, warmup_rounds: int) -> object:
        """Calls the target once a round; once in all if benchmarks are disabled."""


class Compare:
    """Measures figures, for one benchmark of pytest-benchmark each, and keeps them for the table."""

    def __init__(self, benchmark: Benchmark, figures: list[Figure]) -> None:
        self._benchmark = benchmark
        self._figures = figures

    def __call__(
        self,
        what: str,
        contender: Timed,
        floor: Timed,
        *,
        against: str,
        bar: float | None = None,
        rounds: int = ROUNDS,
    ) -> None:
        """Measures a ratio."""
        self.record(what, self.rounds(contender, floor, rounds), against=against, bar=bar)

    def rounds(self, contender: Timed, floor: Timed, rounds: int = ROUNDS) -> Times:
        """Measures both, round by round. Which of the two goes first changes from round to round."""
        times: Times = []

        def one_round() -> None:
            if len(times) % 2:
                first = contender()
                times.append((first, floor()))
            else:
                second = floor()
                times.append((contender(), second))

        self._benchmark.pedantic(one_round, rounds=rounds, warmup_rounds=WARM_UP)
        return times[WARM_UP:] or times

    def once(self, measure: Callable[[], T]) -> T:
        """Has something measured that makes its own rounds."""
        results: list[T] = []
        self._benchmark.pedantic(lambda: results.append(measure()), rounds=1, warmup_rounds=0)
        return results[0]

    def record(self, what: str, times: Times, *, against: str, bar: float | None = None) -> None:
        """Keeps a ratio that was measured before."""
        low, median, high = spread([contender / floor for contender, floor in times])
        contender, floor = (statistics.median(side) for side in zip(*times, strict=True))
        self.keep(Figure(what, against, median, low, high, bar, contender=contender, floor=floor))

    def keep(self, figure: Figure) -> None:
        """Keeps a figure, for the table and among what pytest-benchmark saves."""
        self._figures.append(figure)
        self._benchmark.extra_info[f"{figure.what} / {figure.against}"] = asdict(figure)
