"""What is counted, and how a survey is made of a mapper."""

from pathlib import Path

import pytest
from hypothesis import given, settings

from daxmap import DaxMapper, HostWindowBackend
from daxmap.picture.survey import CELL, Shown, Survey, Tally
from picture.surveys import MIB, PAGE, shown, surveys
from support.files import HostFile
from support.host import PAGE as HOST_PAGE
from support.recording import RecordingBackend


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
    with HostWindowBackend() as backend, DaxMapper(CELL, 2 * CELL, backend, name="home") as mapper:
        mapper.setup_mapping(file.fd, HOST_PAGE, 4 * HOST_PAGE, 8 * HOST_PAGE, writable=True)
        one = Survey.of(mapper)
        assert (one.name, one.base, one.size, one.page_size) == ("home", CELL, 2 * CELL, mapper.page_size)
        assert (one.readonly, one.closed) == (False, False)
        assert one.shown == (
            Shown(
                window_offset=4 * HOST_PAGE,
                length=8 * HOST_PAGE,
                file_offset=HOST_PAGE,
                writable=True,
                dev=file.device,
                ino=file.inode,
                path=str(file.path),
                file_size=3 * HOST_PAGE,
                resident=(2 * HOST_PAGE,),
            ),
        )
        file.path.unlink()
        assert Survey.of(mapper).shown[0].path == f"{file.path} (deleted)"
    assert Survey.of(mapper).closed
    assert Survey.of(mapper).shown == ()
    file.close()


def test_pages_are_resident_once_they_were_used(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with (
        path.open("w+b", buffering=0) as file,
        HostWindowBackend() as backend,
        DaxMapper(CELL, 4 * CELL, backend) as mapper,
    ):
        file.truncate(3 * CELL)
        mapper.setup_mapping(file, 0, CELL // 2, 3 * CELL, writable=True)
        assert [one.resident for one in Survey.of(mapper).shown] == [(0, 0, 0, 0)]
        mapper.write(mapper.base + CELL // 2, b"x")
        mapper.write(mapper.base + 3 * CELL, b"x")
        first, *_, last = Survey.of(mapper).shown[0].resident  # what the kernel reads ahead may be there too
        assert HOST_PAGE <= first <= CELL // 2
        assert HOST_PAGE <= last <= CELL // 2


def test_backend_of_the_vmms_own_tells_no_more_than_the_book(tmp_path: Path) -> None:
    file = HostFile(tmp_path / "file", 1)
    with RecordingBackend().mapper() as mapper:
        mapper.map_file(file.fd)
        [one] = Survey.of(mapper).shown
        assert (one.path, one.file_size, one.resident) == (None, None, ())
    file.close()
