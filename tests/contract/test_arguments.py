"""Arguments of a wrong type or outside 64 bits. They never reach a backend, so one kind of it is enough."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from daxmap import DaxMapper
from support.host import PAGE
from support.rig import Rig, Subject

FREE = 16 * PAGE
WRITABLE = 4 * PAGE
"""Where the mapper that is given them has a writable mapping."""


def setup(subject: Subject, fd: object) -> None:
    subject.mapper.setup_mapping(fd, 0, FREE, PAGE, writable=False)  # type: ignore[arg-type]


NUMBERS = ["file_offset", "window_offset", "length"]
WRONG_TYPES = [1.0, math.nan, None, "4096", b"\0", [0], (0,), 1j, object()]
OUT_OF_RANGE = [-1, -PAGE, -(2**63), -(2**200), 2**64, 2**64 + PAGE, 2**200]


@pytest.mark.parametrize("name", [*NUMBERS, "fd"])
@pytest.mark.parametrize("value", WRONG_TYPES)
def test_setup_with_a_value_of_another_type(plain_subject: Subject, name: str, value: object) -> None:
    fd = plain_subject.rig.files[0].fd
    arguments: dict[str, Any] = {"fd": fd, "file_offset": 0, "window_offset": FREE, "length": PAGE, name: value}
    with plain_subject.untouched(), pytest.raises(TypeError):
        plain_subject.mapper.setup_mapping(**arguments, writable=False)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", OUT_OF_RANGE)
def test_setup_with_a_number_outside_64_bits(plain_subject: Subject, name: str, value: int) -> None:
    fd = plain_subject.rig.files[0].fd
    arguments: dict[str, Any] = {"fd": fd, "file_offset": 0, "window_offset": FREE, "length": PAGE, name: value}
    with plain_subject.untouched(), pytest.raises(OverflowError):
        plain_subject.mapper.setup_mapping(**arguments, writable=False)


@pytest.mark.parametrize("value", [None, 1, 0, "yes", 1.0])
def test_setup_with_an_access_that_is_no_bool(plain_subject: Subject, value: object) -> None:
    fd = plain_subject.rig.files[0].fd
    with plain_subject.untouched(), pytest.raises(TypeError):
        plain_subject.mapper.setup_mapping(fd, 0, FREE, PAGE, value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", WRONG_TYPES)
def test_remove_with_a_value_of_another_type(plain_subject: Subject, value: Any) -> None:  # noqa: ANN401
    for arguments in ((value, PAGE), (0, value)):
        with plain_subject.untouched(), pytest.raises(TypeError):
            plain_subject.mapper.remove_mapping(*arguments)


@pytest.mark.parametrize("value", OUT_OF_RANGE)
def test_remove_with_a_number_outside_64_bits(plain_subject: Subject, value: int) -> None:
    for arguments in ((value, PAGE), (0, value)):
        with plain_subject.untouched(), pytest.raises(OverflowError):
            plain_subject.mapper.remove_mapping(*arguments)


def test_wrong_numbers_of_arguments(plain_subject: Subject) -> None:
    calls: list[Callable[[Any], object]] = [
        lambda mapper: mapper.setup_mapping(0, 0, 0, 0),
        lambda mapper: mapper.setup_mapping(0, 0, 0, 0, False, 0),  # noqa: FBT003
        lambda mapper: mapper.setup_mapping(0, 0, 0, 0, write=False),
        lambda mapper: mapper.remove_mapping(0),
        lambda mapper: mapper.remove_mappings(),
        lambda mapper: mapper.reset(0),
        lambda mapper: mapper.drain_all(0),
    ]
    for call in calls:
        with plain_subject.untouched(), pytest.raises(TypeError):
            call(plain_subject.mapper)


@pytest.mark.parametrize("fd", [2**64, -(2**64), 2**200])
def test_descriptor_outside_64_bits(plain_subject: Subject, fd: int) -> None:
    with plain_subject.untouched(), pytest.raises(OverflowError):
        setup(plain_subject, fd)


def test_closed_file_object(plain_subject: Subject) -> None:
    with plain_subject.rig.files[0].path.open("rb") as file:
        pass
    with plain_subject.untouched(), pytest.raises(ValueError, match="closed"):
        setup(plain_subject, file)


class Descriptor:
    """Something with a fileno()."""

    def __init__(self, answer: Callable[[], object]) -> None:
        self.fileno = answer


class AskedError(Exception):
    pass


def asked() -> object:
    raise AskedError


@pytest.mark.parametrize("answer", [lambda: None, lambda: 1.0, lambda: "3", lambda: b"3"])
def test_fileno_that_is_no_int(plain_subject: Subject, answer: Callable[[], object]) -> None:
    with plain_subject.untouched(), pytest.raises(TypeError):
        setup(plain_subject, Descriptor(answer))


def test_what_fileno_raises_passes_through(plain_subject: Subject) -> None:
    with plain_subject.untouched(), pytest.raises(AskedError):
        setup(plain_subject, Descriptor(asked))


def test_fileno_may_use_the_mapper(rig: Rig) -> None:
    subject = rig.open()
    file = rig.file()

    def answer() -> int:
        subject.map(file, FREE + PAGE)
        return file.fd

    setup(subject, Descriptor(answer))
    subject.remove(FREE + PAGE)
    subject.mapper.remove_mapping(FREE, PAGE)
    subject.agree()


@pytest.mark.parametrize("data", [None, 7, 1.5, "text", [1, 2], (1, 2)])
def test_write_of_what_is_no_buffer(plain_subject: Subject, data: object) -> None:
    with plain_subject.untouched(), pytest.raises(TypeError):
        plain_subject.mapper.write(plain_subject.mapper.base + WRITABLE, data)  # type: ignore[arg-type]


BAD_NUMBERS: list[tuple[object, type[Exception]]] = [
    (-1, OverflowError),
    (2**64, OverflowError),
    (1.0, TypeError),
    (None, TypeError),
    ("1", TypeError),
]


CALLS_WITH_A_NUMBER: list[Callable[[DaxMapper, Any], object]] = [
    lambda mapper, number: mapper.read(number, 1),
    lambda mapper, number: mapper.read(mapper.base, number),
    lambda mapper, number: mapper.write(number, b"x"),
    lambda mapper, number: mapper.lookup(number),
]


@pytest.mark.parametrize("call", CALLS_WITH_A_NUMBER)
@pytest.mark.parametrize(("number", "error"), BAD_NUMBERS)
def test_addresses_and_lengths_that_are_no_numbers(
    plain_subject: Subject, call: Callable[[DaxMapper, Any], object], number: object, error: type[Exception]
) -> None:
    with plain_subject.untouched(), pytest.raises(error):
        call(plain_subject.mapper, number)


class BrokenError(Exception):
    pass


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (None, TypeError),
        (7, TypeError),
        ((0,), (TypeError, ValueError)),
        ((0, PAGE, 0), (TypeError, ValueError)),
        ((0, None), TypeError),
        ((0.0, PAGE), TypeError),
        ((-1, PAGE), OverflowError),
        ((0, 2**64), OverflowError),
        (BrokenError(), BrokenError),
    ],
)
def test_batch_with_a_malformed_entry_removes_nothing(
    plain_subject: Subject, bad: object, error: type[Exception] | tuple[type[Exception], ...]
) -> None:
    def batch() -> object:
        yield 0, 2 * PAGE
        if isinstance(bad, Exception):
            raise bad
        yield bad

    with plain_subject.untouched(), pytest.raises(error):
        plain_subject.mapper.remove_mappings(batch())  # type: ignore[arg-type]


@pytest.mark.parametrize("batch", [None, 7, 1.5])
def test_batch_that_is_no_iterable(plain_subject: Subject, batch: object) -> None:
    with plain_subject.untouched(), pytest.raises(TypeError):
        plain_subject.mapper.remove_mappings(batch)  # type: ignore[arg-type]
