"""Windows, layouts and counters as HTML."""

from errno import EBADF, EINVAL, EROFS
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings

from daxmap import DaxMapper, DaxStats, HostWindowBackend, WindowLayout
from daxmap.picture import html
from daxmap.picture.survey import CELL, Survey
from daxmap.textwidth import neutral
from picture.surveys import HOSTILE, MIB, PAGE, hostile, shown, survey, surveys
from support.files import HostFile
from support.host import PAGE as HOST_PAGE

SVG = "{http://www.w3.org/2000/svg}"
TAGS = {"div", "style", "table", "thead", "tbody", "tr", "th", "td", "bdi", "br", "p"}
SHAPES = {"svg", "title", "desc", "style", "rect", "path", "g", "text"}
ATTRIBUTES = {"class", "scope", "rowspan", "role", "width", "height", "viewBox", "x", "y", "d", "font-size"}


def parse(page: str) -> ET.Element:
    """The page, which loads nothing, runs nothing and has all its ends."""
    root = ET.fromstring(page)  # noqa: S314  # our own
    assert {element.tag for element in root.iter()} <= TAGS | {f"{SVG}{shape}" for shape in SHAPES}
    assert {name for element in root.iter() for name in element.attrib} <= ATTRIBUTES
    assert "url(" not in page
    assert "@import" not in page
    return root


def rows(root: ET.Element, table: int = 0) -> list[list[str]]:
    """The cells of a table, row by row."""
    body = list(root.iter("tbody"))[table]
    return [["".join(cell.itertext()) for cell in row] for row in body]


@settings(deadline=None)
@given(surveys())
def test_table_has_a_row_for_each_mapping_up_to_twenty(window: Survey) -> None:
    root = parse(html.mapper_html(window))
    assert len(list(root.iter("svg"))) == 0
    assert len(list(root.iter(f"{SVG}svg"))) == 1
    if window.shown:
        assert len(rows(root)) == min(20, len(window.shown))
        width = len(root.findall(".//th"))
        assert sum(int(cell.get("rowspan", "1")) for cell in root.iter("td")) == width * len(rows(root))
    else:
        assert not root.findall(".//table")


def test_names_are_text_and_nothing_else() -> None:
    root = parse(html.mapper_html(hostile()))
    names = ["".join(name.itertext()) for name in root.iter("bdi")]
    assert names[:10] == [neutral(name) for name in HOSTILE[:10]]
    assert all(text.isprintable() for text in root.itertext())


def test_what_is_not_listed_is_counted() -> None:
    mappings = [shown(index * 2 * PAGE, PAGE) for index in range(25)]
    root = parse(html.mapper_html(survey(*mappings)))
    assert rows(root)[0][1] == "/srv/file20 of 25 mappings"
    assert root.findtext("p") == "and 5 more mappings"


def test_column_with_nothing_to_say_is_left_out() -> None:
    plain = parse(html.mapper_html(survey(shown(0, CELL, resident=None))))
    assert [head.text for head in plain.iter("th")] == [None, "file", "guest address", "file range", "access"]
    past = parse(html.mapper_html(survey(shown(0, CELL, file_size=MIB))))
    assert [head.text for head in past.iter("th")][-2:] == ["resident", "past end"]
    assert rows(past)[0][-2:] == ["1 MiB", "1 MiB"]


@pytest.mark.parametrize("shares", [1, 3, 12, 13, 40])
def test_layout_shows_ram_and_each_window(shares: int) -> None:
    layout = WindowLayout(0, 1 << 30, [(f"tag{index}", (index + 1) * CELL, index % 2 == 1) for index in range(shares)])
    root = parse(layout._repr_html_())
    table = rows(root)
    assert [row[0] for row in table] == list(layout.shares)
    assert table[0][1:] == ["0x40000000-0x40200000", "2 MiB", "writable"]
    texts = [text.text or "" for text in root.iter(f"{SVG}text")]
    assert texts[0].startswith("guest RAM")
    assert sum(text.startswith("tag") for text in texts) == min(shares, 12)
    assert ("and 28 more windows" in texts) is (shares == 40)
    assert ("and 1 more window" in texts) is (shares == 13)
    assert texts[-1] == hex(layout.end)


def test_tags_are_text_and_nothing_else() -> None:
    tags = ["<script>", "\x1b[1m\n", "&amp;\u202e", "'\"]]>"]
    root = parse(WindowLayout(0, 1 << 30, [(tag, CELL) for tag in tags])._repr_html_())
    assert [row[0] for row in rows(root)] == [neutral(tag) for tag in tags]
    assert all(text.isprintable() for text in root.itertext())


def test_largest_layout_fits() -> None:
    layout = WindowLayout(2**63, 2**62, [("\x01" * 36, 2**62)])
    root = parse(layout._repr_html_())
    (image,) = root.iter(f"{SVG}svg")
    for text in image.iter(f"{SVG}text"):
        end = float(text.get("x", "")) + len(text.text or "") * float(text.get("font-size", "")) * 0.602
        assert end <= float(image.get("width", ""))


def test_counters_are_named_and_so_are_errors() -> None:
    backend = HostWindowBackend()
    with DaxMapper(0, CELL, backend, readonly=True) as mapper, Path(__file__).open("rb") as file:
        mapper.setup_mapping(file, 0, 0, HOST_PAGE, writable=False)
        for fd, offset, writable in ((file.fileno(), 0, True), (file.fileno(), 1, False), (10**6, 0, False)):
            with pytest.raises(OSError):  # noqa: PT011  # three of them
                mapper.setup_mapping(fd, offset, HOST_PAGE, HOST_PAGE, writable)
        stats = mapper.stats()
    backend.release()
    root = parse(html.stats_html(stats))
    counters = {name: value for name, value, _ in rows(root)}
    assert counters == {name: f"{value:,}" for name, value in stats.as_dict().items() if isinstance(value, int)}
    assert rows(root)[1] == ["setup_bytes", f"{HOST_PAGE:,}", f"{HOST_PAGE >> 10} KiB"]
    assert sorted(rows(root, 1)) == sorted(
        [[name, str(number), "1"] for name, number in (("EBADF", EBADF), ("EINVAL", EINVAL), ("EROFS", EROFS))]
    )


def test_no_errors_need_no_table() -> None:
    assert len(list(parse(html.stats_html(DaxStats())).iter("table"))) == 1


def test_mapper_is_drawn_as_it_is_now(tmp_path: Path) -> None:
    file = HostFile(tmp_path / "file", 3)
    with HostWindowBackend() as backend, DaxMapper(CELL, 2 * CELL, backend) as mapper:
        assert "nothing is mapped" in mapper.render()
        mapper.map_file(file.fd)
        assert f"a  {file.path}\n   {CELL:#x}-{CELL + 3 * HOST_PAGE:#x}  0x0-{3 * HOST_PAGE:#x}" in mapper.render(
            width=100
        )
        assert str(file.path) in mapper.to_svg()
        assert str(file.path) in mapper._repr_html_()
        assert "setup_count" in mapper.stats()._repr_html_()
    assert "closed" in mapper.render()
    file.close()
