"""The models: what a function of the product does with words, as z3 sees it."""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar, get_type_hints

from z3 import BitVecRef, is_bool, is_true, simplify

from proof.words import Option, word

F = TypeVar("F", bound=Callable[..., object])


class Model(NamedTuple):
    function: Callable[..., object]

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def kinds(self) -> list[type]:
        """The types of its arguments: a word, or a tuple of such types."""
        hints = get_type_hints(self.function)
        return [hints[name] for name in inspect.signature(self.function).parameters]

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        """What it says of these arguments: nothing for a refusal."""
        words = iter([word(number) for number in numbers])
        return list(_numbers(self.function(*(_build(kind, words) for kind in self.kinds))))


MODELS: list[Model] = []


def model(function: F) -> F:
    """Adds a model. Its docstring ends with the place of the function that it is of, as `places` reads it."""
    MODELS.append(Model(function))
    return function


def places(documented: Callable[..., object]) -> Iterator[tuple[str, str]]:
    """The files and names of functions in the lines "In FILE: NAME, NAME" of a docstring."""
    for file, names in re.findall(r"^In (\S+): (.+)$", inspect.getdoc(documented) or "", re.MULTILINE):
        for name in names.split(", "):
            yield file, name


def _build(kind: type, words: Iterator[BitVecRef]) -> Any:  # noqa: ANN401  # of that kind
    if kind is BitVecRef:
        return next(words)
    return kind(*(_build(part, words) for part in get_type_hints(kind).values()))


def _numbers(said: object) -> Iterable[int]:
    if isinstance(said, Option):
        return _numbers(said.value) if is_true(simplify(said.some)) else ()
    if isinstance(said, tuple):
        return (number for part in said for number in _numbers(part))
    if is_bool(said):
        return (int(is_true(simplify(said))),)
    number: int = simplify(said).as_long()
    return (number,)
