"""A window as rows of cells: nothing is lost, and there are never too many."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daxmap.picture.grid import Gap, Row, grid
from daxmap.picture.survey import CELL, Survey, Tally
from picture.surveys import MIB, PAGE, shown, survey, surveys

GIB = 1 << 30
TIB = 1 << 40


@settings(deadline=None)
@given(surveys(), st.sampled_from([1, 8, 32]))
def test_rows_and_gaps_are_all_of_the_window(window: Survey, per_row: int) -> None:
    picture = grid(window, per_row)
    address = window.base
    for row in picture.rows:
        if isinstance(row, Gap):
            end = address + row.holes * picture.cell
            assert not any(
                address < window.base + one.end and window.base + one.window_offset < end for one in window.shown
            )
            address = min(end, window.base + window.size)
            continue
        assert row.address == address
        assert len(row.cells) <= per_row
        for cell in row.cells:
            assert cell.address == address
            address += cell.length
    assert address == window.base + window.size


@settings(deadline=None)
@given(surveys(), st.sampled_from([1, 8, 32]))
def test_every_mapping_is_in_the_cells(window: Survey, per_row: int) -> None:
    cells = list(grid(window, per_row).cells())
    assert sum((cell.tally for cell in cells), Tally()) == window.tally()
    assert sum(cell.writable.mapped for cell in cells) == sum(one.length for one in window.shown if one.writable)
    assert {one for cell in cells for one in cell.shown} == set(window.shown)
    assert all(cell.tally.mapped <= cell.length for cell in cells)


@settings(deadline=None)
@given(surveys(), st.sampled_from([1, 8, 32]))
def test_lines_are_few_and_cells_a_power_of_two(window: Survey, per_row: int) -> None:
    picture = grid(window, per_row)
    assert len(picture.rows) <= 16
    assert picture.cell % CELL == 0
    assert picture.cell.bit_count() == 1


@pytest.mark.parametrize(
    ("size", "cell"), [(8 * MIB, CELL), (GIB, CELL), (GIB + CELL, 2 * CELL), (8 * GIB, 8 * CELL), (TIB, 1024 * CELL)]
)
def test_full_window_has_larger_cells_the_larger_it_is(size: int, cell: int) -> None:
    assert grid(survey(shown(0, size, resident=None), size=size), 32).cell == cell


def test_sparse_window_keeps_small_cells_and_leaves_holes_out() -> None:
    window = survey(shown(TIB // 2, PAGE), shown(TIB - CELL, CELL), size=TIB)
    picture = grid(window, 32)
    half = TIB // 2 // CELL
    assert picture.cell == CELL
    assert [row.holes if isinstance(row, Gap) else len(row.cells) for row in picture.rows] == [half, 32, half - 64, 32]


def test_two_rows_of_holes_are_not_worth_leaving_out() -> None:
    rows = grid(survey(shown(0, CELL), shown(9 * CELL, CELL), size=14 * CELL), 2).rows
    assert [type(row) for row in rows] == [Row, Gap, Row, Row, Row]
    near = grid(survey(shown(0, CELL), shown(6 * CELL, CELL), size=8 * CELL), 2).rows
    assert [type(row) for row in near] == [Row, Row, Row, Row]


def test_last_cell_ends_with_the_window() -> None:
    (row,) = grid(survey(shown(CELL, PAGE), size=CELL + PAGE), 32).rows
    assert isinstance(row, Row)
    assert [cell.length for cell in row.cells] == [CELL, PAGE]
    assert row.cells[1].tally.mapped == row.cells[1].length
