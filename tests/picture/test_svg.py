"""A window as an SVG image."""

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings

from daxmap.picture.survey import CELL, Survey
from daxmap.picture.svg import drawing, to_svg
from daxmap.textwidth import columns, neutral
from picture.surveys import HOSTILE, MIB, PAGE, hostile, shown, survey, surveys

SVG = "{http://www.w3.org/2000/svg}"
# As wide as the widest of the common fonts of fixed width.
EM = 0.602


def parse(window: Survey) -> ET.Element:
    return ET.fromstring(to_svg(window))  # noqa: S314  # our own


@settings(deadline=None)
@given(surveys())
def test_image_is_xml_of_shapes_and_text_inside_its_frame(window: Survey) -> None:
    root = parse(window)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        "svg", "title", "desc", "style", "rect", "path", "g", "text",
    }  # fmt: skip
    assert {name for element in root.iter() for name in element.attrib} <= {
        "class", "role", "width", "height", "viewBox", "x", "y", "d", "font-size",
    }  # fmt: skip
    width, height = float(root.get("width", "")), float(root.get("height", ""))
    assert root.get("viewBox") == f"0 0 {width:g} {height:g}"
    for rect in root.iter(f"{SVG}rect"):
        x, y, w, h = (float(rect.get(name, "")) for name in ("x", "y", "width", "height"))
        assert w > 0
        assert h > 0
        assert x + w <= width
        assert y + h <= height
    for text in root.iter(f"{SVG}text"):
        assert text.text
        end = float(text.get("x", "")) + columns(text.text) * float(text.get("font-size", "")) * EM
        assert end <= width, text.text
        assert float(text.get("y", "")) < height


@settings(deadline=None)
@given(surveys())
def test_every_cell_that_shows_something_says_what(window: Survey) -> None:
    titles = [group.findtext(f"{SVG}title") or "" for group in parse(window).iter(f"{SVG}g")]
    for one in window.shown:
        start = window.base + one.window_offset
        ranges = (re.match("(0x[0-9a-f]+)-(0x[0-9a-f]+): ", title) for title in titles)
        assert any(found and int(found[1], 16) <= start < int(found[2], 16) for found in ranges)


def test_names_are_text_and_nothing_else() -> None:
    root = parse(hostile())
    lines = [text.text or "" for text in root.iter(f"{SVG}text")]
    for name in HOSTILE[:10]:
        assert any(line.endswith(f"  {neutral(name)}") for line in lines), name
    assert all(line.isprintable() for line in root.itertext())


def test_image_is_described() -> None:
    root = parse(survey(shown(0, CELL)))
    assert root.get("role") == "img"
    assert root.findtext(f"{SVG}title") == 'DAX window "root": 128 MiB at 0x140000000-0x148000000'
    assert root.findtext(f"{SVG}desc") == "1 mapping of 1 file: 2 MiB mapped, 2 MiB resident"


@pytest.mark.parametrize(
    ("mapping", "kinds"),
    [
        (shown(0, CELL), ["ro-resident", "hole"]),
        (shown(0, CELL, writable=True, resident=0), ["rw-absent", "hole"]),
        (shown(0, CELL, writable=True, resident=None), ["rw-unknown", "hole"]),
        (shown(0, CELL, resident=0.5, file_size=MIB), ["ro-resident", "ro-absent", "past-end", "hole"]),
    ],
)
def test_cell_is_filled_with_what_is_in_it(mapping: object, kinds: list[str]) -> None:
    (group,) = parse(survey(mapping)).iter(f"{SVG}g")  # type: ignore[arg-type]
    parts = list(group.iter(f"{SVG}rect"))
    assert [part.get("class") for part in parts] == kinds
    *fills, frame = (float(part.get("height", "")) for part in parts)
    assert sum(fills) == pytest.approx(frame, abs=0.2)


def test_a_page_can_be_seen_and_so_can_the_hole_of_a_page() -> None:
    for length in (PAGE, CELL - PAGE):
        (group,) = parse(survey(shown(0, length))).iter(f"{SVG}g")
        fill, frame = (float(part.get("height", "")) for part in group.iter(f"{SVG}rect"))
        assert 2 <= fill <= frame - 2


def test_drawing_leaves_the_listing_to_the_page() -> None:
    window = survey(shown(0, CELL, path="/srv/listed"))
    assert ">a  /srv/listed</text>" in to_svg(window)
    assert ">a  /srv/listed</text>" not in drawing(window)
