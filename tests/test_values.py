"""MappingInfo, RemoveResult and DaxStats are plain values."""

import copy
import pickle
from errno import EEXIST, EINVAL, ENOENT
from typing import Any

import pytest

import daxmap
from daxmap import DaxStats, MappingInfo, RemoveResult

INFO = MappingInfo(1, 2, 3, True, 4, 2**64 - 1)  # noqa: FBT003
RESULT = RemoveResult(3, [(0, 4096, ENOENT), (8192, 4096, EINVAL)])
STATS = DaxStats(setup_count=7, live_mappings=2, live_bytes=8192, peak_mappings=5, errors={EEXIST: 3, 4000: 1})
VALUES = [INFO, RESULT, STATS, DaxStats(), RemoveResult(0, [])]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_pickled_value_is_the_same(value: object, protocol: int) -> None:
    assert pickle.loads(pickle.dumps(value, protocol)) == value  # noqa: S301
    assert copy.copy(value) == copy.deepcopy(value) == value


def test_values_are_matched_by_position() -> None:
    match INFO:
        case MappingInfo(offset, length, file_offset, writable, dev, ino):
            assert (offset, length, file_offset, writable, dev, ino) == (1, 2, 3, True, 4, 2**64 - 1)
        case _:
            pytest.fail("no match")
    match RESULT:
        case RemoveResult(removed, [(first, _, errno), *_]):
            assert (removed, first, errno) == (3, 0, ENOENT)
        case _:
            pytest.fail("no match")


def test_match_args_are_the_attributes_in_order() -> None:
    for value in (INFO, RESULT, STATS):
        kind: Any = type(value)
        fields = {name: getattr(value, name) for name in kind.__match_args__}
        assert kind(**fields) == value


def test_stats_are_made_of_their_dict() -> None:
    assert DaxStats(**STATS.as_dict()) == STATS  # type: ignore[arg-type]
    assert list(STATS.as_dict()) == list(DaxStats.__match_args__)


def test_difference_of_stats_is_what_happened_in_between() -> None:
    before = DaxStats(setup_count=2, live_mappings=3, live_bytes=12288, peak_mappings=5, errors={EEXIST: 3, ENOENT: 1})
    assert STATS - before == DaxStats(setup_count=5, live_mappings=-1, live_bytes=-4096, errors={ENOENT: -1, 4000: 1})
    assert DaxStats() == STATS - STATS
    with pytest.raises(TypeError):
        STATS - 1  # type: ignore[operator]


def test_errors_have_names_beside_their_numbers() -> None:
    assert STATS.errors == {EEXIST: 3, 4000: 1}
    assert STATS.errors_by_name == {"EEXIST": 3, "4000": 1}
    assert repr(STATS).endswith("peak_mappings=5, errors={17 EEXIST: 3, 4000: 1})")
    assert repr(RESULT) == "RemoveResult(removed=3, failed=[(0x0, 0x1000, 2 ENOENT), (0x2000, 0x1000, 22 EINVAL)])"


@pytest.mark.parametrize("name", DaxStats.__match_args__[:-1])
def test_counter_that_cannot_be(name: str) -> None:
    with pytest.raises(OverflowError):
        DaxStats(**{name: 2**63})  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        DaxStats(**{name: "1"})  # type: ignore[arg-type]


def test_values_do_not_change() -> None:
    for value in (INFO, RESULT, STATS):
        for name in type(value).__match_args__:
            with pytest.raises(AttributeError):
                setattr(value, name, 0)


def test_public_values_are_found_by_pickle_in_other_processes() -> None:
    for value in (INFO, RESULT, STATS):
        assert type(value).__module__ == "daxmap"
        assert getattr(daxmap, type(value).__name__) is type(value)
