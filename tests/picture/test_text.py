"""A window as text."""

import doctest
import io
import re
import unicodedata
from contextlib import redirect_stdout
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daxmap import textwidth
from daxmap.picture import text, words
from daxmap.picture.survey import CELL, Survey
from daxmap.picture.text import render
from picture.surveys import BASE, HOSTILE, MIB, PAGE, hostile, shown, survey, surveys


def columns(line: str) -> int:
    """What a terminal needs for a line, if it obeys nothing in it."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in line)
    return len(line) + wide - sum(unicodedata.combining(char) > 0 for char in line)


def render_for(encoding: str, window: Survey, width: int | None = None) -> str:
    """The picture that a program draws whose standard output has this encoding."""
    with redirect_stdout(io.TextIOWrapper(io.BytesIO(), encoding)):
        return render(window, width=width)


def cells(picture: str) -> str:
    """The cells of a picture, without addresses, names and marks."""
    return "".join(re.findall(r"^0x[0-9a-f]+ +(\S+)$", picture, re.MULTILINE))


@pytest.mark.parametrize("module", [text, textwidth, words])
def test_docstring_examples(module: object) -> None:
    results = doctest.testmod(module)  # type: ignore[arg-type]
    assert results.attempted > 0
    assert results.failed == 0


@settings(deadline=None)
@given(surveys(), st.integers(-5, 200), st.sampled_from(["utf-8", "ascii", "latin-1"]))
def test_no_line_is_wider_than_asked_for(window: Survey, width: int, encoding: str) -> None:
    picture = render_for(encoding, window, width)
    assert max(map(columns, picture.split("\n"))) <= min(max(width, 60), 100)
    assert picture.encode(encoding)
    assert all(line.isprintable() for line in picture.split("\n"))


@settings(deadline=None)
@given(surveys())
def test_every_mapping_is_listed_or_counted(window: Survey) -> None:
    picture = render(window, width=100)
    more = re.search(r"^and (\d+) more mappings?$", picture, re.MULTILINE)
    assert (int(more[1]) if more else 0) == max(0, len(window.shown) - 20)
    for one in window.shown[:20]:
        assert f" {window.base + one.window_offset:#x}-{window.base + one.end:#x}" in picture


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_names_are_shown_and_not_obeyed(encoding: str) -> None:
    picture = render_for(encoding, hostile(), 100)
    for name in ("\x1b", "\x9b", "\x07", "\r", "\x85", "\u2028", "\u202e", "\u200f", "\udcff", "\x01"):
        assert name not in picture
    for name in (r"/srv/\x1b[31mred\x1b[0m", r"/srv/\x9b2J\x07", r"\n", r"/srv/\u202egnp.exe", r"/srv/back\\x1bslash"):
        assert name in picture
    assert len(re.findall(r"^[a-n]  /srv/", picture, re.MULTILINE)) == len(HOSTILE)


def test_long_path_loses_its_middle() -> None:
    picture = render(survey(shown(0, CELL, path="/start/" + "x" * 200 + "/end.txt")), width=80)
    assert re.search(r"^a  /start/x+…x+/end\.txt$", picture, re.MULTILINE)


def test_what_the_encoding_lacks_is_ascii() -> None:
    window = survey(shown(0, CELL, resident=0.5, path="/é/長"), shown(4 * CELL, PAGE), size=256 * MIB)
    assert render_for("ascii", window, 60).isascii()
    assert r"/\xe9/\u9577" in render_for("ascii", window)
    assert "/é/長" in render_for("utf-8", window)
    assert cells(render_for("ascii", window, 80))[:10] == "%%......#."
    assert cells(render_for("utf-8", window, 80))[:10] == "▓▓······█·"


@pytest.mark.parametrize(
    ("mapping", "cell"),
    [
        (shown(0, CELL), "██"),
        (shown(0, CELL, resident=0.9), "▓▓"),
        (shown(0, CELL, resident=0.1), "▒▒"),
        (shown(0, CELL, resident=0), "░░"),
        (shown(0, CELL, resident=None), "=="),
        (shown(0, PAGE), "█·"),
        (shown(MIB, CELL), "█·█·"),
        (shown(0, CELL, file_size=1), "█!"),
        (shown(0, CELL, file_size=1, resident=0), "░!"),
        (shown(0, 2 * CELL, file_size=CELL), "██!!"),
        (shown(0, CELL, file_size=0), "!!"),
    ],
)
def test_cell_tells_what_is_in_it(mapping: object, cell: str) -> None:
    assert cells(render(survey(mapping), width=80)).rstrip("·") == cell.rstrip("·")  # type: ignore[arg-type]


def test_marks_tell_whose_a_cell_is_and_whether_it_is_writable() -> None:
    picture = render(
        survey(
            shown(0, CELL, ino=1),
            shown(CELL, CELL, ino=2, writable=True),
            shown(2 * CELL, PAGE, ino=1),
            shown(2 * CELL + PAGE, PAGE, ino=1),
            shown(3 * CELL, PAGE, ino=1),
            shown(3 * CELL + PAGE, PAGE, ino=2, writable=True),
            size=8 * MIB,
        ),
        width=80,
    )
    assert re.search(r"^ +a B a2Z2$", picture, re.MULTILINE)
    assert "below a cell: the letter of its file, a capital if writable, z several files,\n2 two mappings\n" in picture


def test_file_that_is_not_listed_is_marked_as_such() -> None:
    mappings = [shown(index * PAGE, PAGE, ino=1) for index in range(25)]
    picture = render(survey(*mappings, shown(CELL, CELL, ino=2, writable=True), size=8 * MIB), width=80)
    assert re.search(r"^ +a\+Y$", picture, re.MULTILINE)
    assert "a  20 of 25 mappings of /srv/file" in picture
    assert picture.endswith("\nand 6 more mappings")


def test_header_says_which_window_it_is() -> None:
    first, second, *_ = render(survey(shown(0, CELL)), width=80).split("\n")
    assert first == 'DAX window "root": 128 MiB at 0x140000000-0x148000000'
    assert second == "1 mapping of 1 file: 2 MiB mapped, 2 MiB resident"
    closed = replace(survey(), name="", readonly=True, closed=True)
    assert render(closed, width=80).startswith("DAX window: 128 MiB at 0x140000000-0x148000000, read-only, closed\n")
    assert "\nnothing is mapped\n" in render(closed)


def test_mapping_of_a_file_without_a_known_path_has_its_inode() -> None:
    assert "\na  inode 7 of device 00:01\n" in render(survey(shown(0, CELL, ino=7, path=None)))


def test_holes_are_counted_where_they_are_left_out() -> None:
    picture = render(survey(shown(0, CELL), size=1 << 40), width=80)
    assert "one cell = 2 MiB:" in picture
    assert picture.count("·") < 100
    assert "… 524,256 cells of holes" in picture
    assert "... 524,256 cells of holes" in render_for("ascii", survey(shown(0, CELL), size=1 << 40), 80)


def test_page_that_lacks_is_not_rounded_away() -> None:
    one = shown(0, CELL)
    window = survey(replace(one, resident=(CELL - PAGE,)))
    assert "2 MiB mapped, 1.9 MiB resident" in render(window)
    assert cells(render(window, width=80)).startswith("▓▓·")


def test_width_is_the_terminals_within_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    window = survey(shown(0, CELL, path="/" + "x" * 500))
    for terminal, expected in (("10", 60), ("75", 75), ("500", 100)):
        monkeypatch.setenv("COLUMNS", terminal)
        assert max(map(len, render(window).split("\n"))) == expected


def test_addresses_of_rows_are_round() -> None:
    addresses = re.findall(r"^(0x[0-9a-f]+)  ", render(survey(shown(0, 128 * MIB)), width=80), re.MULTILINE)
    assert [int(address, 16) for address in addresses] == [BASE, BASE + 64 * MIB]
