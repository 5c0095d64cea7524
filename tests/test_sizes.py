import doctest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daxmap import DaxDispatcher, FileServer, sizes
from daxmap.sizes import format_size, rough_size, size_in_bytes
from support.windows import host_window

UNCHECKED: Callable[[str, Any], int] = size_in_bytes  # for calls that a type checker refuses


def test_docstring_examples() -> None:
    results = doctest.testmod(sizes)
    assert results.attempted > 0
    assert results.failed == 0


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0KiB", 0),
        ("1KiB", 1 << 10),
        ("128MiB", 128 << 20),
        ("128 MiB", 128 << 20),
        ("007GiB", 7 << 30),
        ("2TiB", 2 << 40),
        ("16777215TiB", 16777215 << 40),
    ],
)
def test_string_is_a_whole_number_with_a_binary_unit(text: str, size: int) -> None:
    assert size_in_bytes("size", text) == size


@pytest.mark.parametrize("size", [0, 1, 4096, 2**64 - 1])
def test_int_is_a_number_of_bytes(size: int) -> None:
    assert size_in_bytes("size", size) == size


@pytest.mark.parametrize(
    "text", ["", "4096", "MiB", "1.5GiB", "-1MiB", "+1MiB", "0x2MiB", "1e3MiB", "4096B", "\u0661MiB"]
)
def test_other_string_is_refused_with_the_units_that_there_are(text: str) -> None:
    with pytest.raises(ValueError, match="is not a whole") as caught:
        size_in_bytes("name", text)
    units = "KiB, MiB, GiB, TiB"
    assert str(caught.value) == f"name: {text!r} is not a whole number with a binary unit ({units}), such as '128MiB'"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("128MB", "128MiB"),
        ("128M", "128MiB"),
        ("128 mb", "128MiB"),
        ("128mib", "128MiB"),
        ("128MIB", "128MiB"),
        ("4k", "4KiB"),
        ("1Gi", "1GiB"),
        ("2TB", "2TiB"),
        (" 128MiB", "128MiB"),
        ("128  MiB\n", "128MiB"),
    ],
)
def test_string_that_may_mean_a_size_is_refused_with_how_to_write_that(text: str, meant: str) -> None:
    with pytest.raises(ValueError, match=rf"^size: .* is not a whole number .*; write '{meant}'$"):
        size_in_bytes("size", text)
    size_in_bytes("size", meant)


@pytest.mark.parametrize(
    "value", [-1, 2**64, pytest.param(10**5000, id="huge"), "16777216TiB", "99999999999999999999TiB"]
)
def test_size_out_of_range_is_a_value_error(value: int | str) -> None:
    with pytest.raises(ValueError, match=r"^size: \S+ is not in the range 0 to 2\*\*64-1$"):
        size_in_bytes("size", value)


@pytest.mark.parametrize("value", [True, None, 4096.0, b"128MiB", ["128MiB"]])
def test_other_type_is_a_type_error(value: object) -> None:
    with pytest.raises(TypeError) as caught:
        UNCHECKED("name", value)
    assert str(caught.value).startswith(f"name: {value!r} is of type ")


@given(st.integers(1, 2**64 // 1024 - 1).map(lambda pages: pages * 1024))
def test_size_that_was_written_can_be_read_again(size: int) -> None:
    assert size_in_bytes("size", format_size(size)) == size


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536 << 20, "1536 MiB"),
        (2 << 30, "2 GiB"),
        (1 << 50, "1024 TiB"),
    ],
)
def test_size_is_written_exactly_in_the_largest_unit(size: int, text: str) -> None:
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        ((2 << 20) - 1, "1.9 MiB"),
        (1536 << 20, "1.5 GiB"),
        (3 << 30, "3 GiB"),
        ((1 << 40) - 1, "1023.9 GiB"),
        (1 << 50, "1024 TiB"),
        (2**64 - 1, "16777215.9 TiB"),
    ],
)
def test_size_for_people_is_rounded_down(size: int, text: str) -> None:
    assert rough_size(size) == text


@given(st.integers(0, 1023), st.sampled_from([2**10, 2**20, 2**30, 2**40]))
def test_size_that_is_whole_reads_the_same_exactly_and_roughly(number: int, unit: int) -> None:
    assert rough_size(number * unit) == format_size(number * unit)


@pytest.mark.parametrize("size", [4096, "4KiB"])
def test_files_may_be_chosen_by_a_size_with_a_unit(tmp_path: Path, size: int | str) -> None:
    """Files of 4096 bytes are marked for DAX, smaller ones are not."""
    for name, length in (("small", 4095), ("large", 4096)):
        (tmp_path / name).write_bytes(bytes(length))
    with host_window(0, 2 << 20) as mapper:
        dispatcher = DaxDispatcher(mapper, lambda *_: 0, dax="inode", min_size=size)
        assert dispatcher.attr_flags((tmp_path / "small").stat()) == 0
        assert dispatcher.attr_flags((tmp_path / "large").stat()) != 0
        FileServer(tmp_path, mapper=mapper, dax="inode", min_size=size)


@pytest.mark.parametrize(
    "make",
    [
        lambda size: DaxDispatcher(None, lambda *_: 0, dax="inode", min_size=size),
        lambda size: FileServer("/", dax="inode", min_size=size),
    ],
)
def test_size_without_a_unit_chooses_no_files(make: Callable[[str], object]) -> None:
    with pytest.raises(ValueError, match=r"^min_size: '4096' is not a whole number"):
        make("4096")
