"""What is counted, and how a survey is made of a mapper."""

from pathlib import Path

import pytest
from hypothesis import given, settings

from daxmap import DaxMapper, HostWindowBackend
from daxmap.picture.survey import CELL, Shown, Survey, Tally
from picture.surveys import MIB, PAGE, shown, surveys
from picture.telling import Telling
from support.files import HostFile


@pytest.mark.parametrize(
    ("file_size", "past_end"),
    [(None, 0), (0, 4), (1, 3), (PAGE, 3), (PAGE + 1, 2), (4 * PAGE - 1, 0), (4 * PAGE, 0), (1 << 62, 0)],
)
def test_file_ends_with_its_last_page(file_size: int | None, past_end: int) -> None:
    tally = shown(8 * PAGE, 4 * PAGE, file_size=file_size, resident=0).tally(PAGE)
    assert (tally.mapped, tally.past_end, tally.absent) == (4 * PAGE, past_end * PAGE, (4 - past_end) * PAGE)


def test_end_of_a_file_counts_from_where_the_mapping_starts_in_it() -> None:
    one = shown(CELL, 2 * CELL, file_offset=10 * CELL, file_size=11 * CELL)
    assert one.tally(PAGE, CELL, 2 * CELL) == Tally(CELL, 0, CELL)
    assert one.tally(PAGE, 2 * CELL, 3 * CELL) == Tally(CELL, CELL, 0)


def test_cells_count_from_the_start_of_the_window() -> None:
    """A mapping of one cell's length that begins in the middle of one touches two."""
    one = Shown(CELL + MIB, CELL, 0, writable=False, resident=(PAGE, 2 * PAGE))
    assert one.tally(PAGE, CELL, 2 * CELL) == Tally(MIB, 0, PAGE)
    assert one.tally(PAGE, 2 * CELL, 4 * CELL) == Tally(MIB, 0, 2 * PAGE)
    assert one.tally(PAGE) == Tally(CELL, 0, 3 * PAGE)
    assert one.tally(PAGE, 3 * CELL, 4 * CELL) == Tally()


def test_file_that_is_cut_meanwhile_has_no_more_resident_than_it_has() -> None:
    one = Shown(0, CELL, 0, writable=False, file_size=PAGE, resident=(CELL,))
    assert one.tally(PAGE) == Tally(CELL, CELL - PAGE, PAGE)


def test_residency_that_nobody_knows_is_not_taken_for_none() -> None:
    tally = shown(0, CELL, file_size=PAGE, resident=None).tally(PAGE)
    assert (tally.unknown, tally.resident, tally.absent) == (PAGE, 0, 0)


@settings(deadline=None)
@given(surveys())
def test_all_of_a_tally_is_something(window: Survey) -> None:
    for one in window.shown:
        tally = one.tally(PAGE)
        parts = (tally.past_end, tally.resident, tally.unknown, tally.absent)
        assert sum(parts) == tally.mapped == one.length
        assert min(parts) >= 0


def test_survey_of_a_mapper_has_all_that_it_tells(tmp_path: Path) -> None:
    file = HostFile(tmp_path / "file", 3)
    backend = HostWindowBackend()
    with DaxMapper(CELL, 2 * CELL, backend, name="home") as mapper:
        mapper.setup_mapping(file.fd, PAGE, 4 * PAGE, 8 * PAGE, writable=True)
        one = Survey.of(Telling(mapper, file))
        assert (one.name, one.base, one.size, one.page_size) == ("home", CELL, 2 * CELL, mapper.page_size)
        assert (one.readonly, one.closed) == (False, False)
        assert one.shown == (
            Shown(
                window_offset=4 * PAGE,
                length=8 * PAGE,
                file_offset=PAGE,
                writable=True,
                dev=file.device,
                ino=file.inode,
                path=str(file.path),
                file_size=3 * PAGE,
                resident=(2 * PAGE,),
            ),
        )
    assert Survey.of(Telling(mapper, file)).closed
    backend.release()
    file.close()
