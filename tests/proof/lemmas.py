"""What is proven, and how z3 is asked."""

import inspect
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

from z3 import And, BoolRef, BoolVal, Not, Solver, sat, unknown

EFFORT = 20_000_000
"""Steps of z3 for a claim, which are the same on every machine: a claim that takes more is to be split, or said of
less.
"""


class Claim(NamedTuple):
    """That `then` holds for all words for which `given` does."""

    then: BoolRef
    given: BoolRef = BoolVal(val=True)


Statement: TypeAlias = Callable[[], Iterator[Claim]]


class Lemma(NamedTuple):
    claims: Statement

    @property
    def name(self) -> str:
        return self.claims.__name__

    @property
    def text(self) -> str:
        return inspect.getdoc(self.claims) or ""

    def counterexample(self) -> dict[str, int] | None:
        """Words for which a claim of it does not hold, by name; None where there are none, and the lemma is proven."""
        found = (_counterexample(claim) for claim in self.claims())
        return next((words for words in found if words is not None), None)


LEMMAS: list[Lemma] = []
"""What holds."""

FALLACIES: list[Lemma] = []
"""What does not, though it looks as if it did: arithmetic that daxmap does not use."""


def lemma(claims: Statement) -> Statement:
    LEMMAS.append(Lemma(claims))
    return claims


def fallacy(claims: Statement) -> Statement:
    FALLACIES.append(Lemma(claims))
    return claims


def _counterexample(claim: Claim) -> dict[str, int] | None:
    if _words(claim.given) is None:
        raise ValueError("a claim about nothing: no words are as it is given")
    return _words(And(claim.given, Not(claim.then)))


def _words(wanted: BoolRef) -> dict[str, int] | None:
    """Words that are as is wanted, by name; None where there are none."""
    solver = Solver()
    solver.set("rlimit", EFFORT)
    solver.add(wanted)
    answer = solver.check()
    if answer == unknown:
        raise ValueError(f"z3 can't tell: {solver.reason_unknown()}")
    if answer != sat:
        return None
    model = solver.model()
    return {str(name): model[name].as_long() for name in sorted(model, key=str)}
