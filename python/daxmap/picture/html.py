"""Windows, layouts and counters as pieces of HTML, for notebooks. They need nothing else, and run nothing."""

from errno import errorcode
from html import escape
from typing import TYPE_CHECKING

from daxmap.picture import address_map, svg, words
from daxmap.picture.listing import facts, listing
from daxmap.picture.style import style
from daxmap.picture.survey import Survey
from daxmap.sizes import rough_size
from daxmap.textwidth import neutral

if TYPE_CHECKING:
    from collections.abc import Iterable

    from daxmap import DaxStats
    from daxmap.layout import WindowLayout

__all__ = ["layout_html", "mapper_html", "stats_html"]

# Columns of a path or a tag. A browser breaks it into lines where it needs to.
_NAME = 120


def mapper_html(survey: Survey) -> str:
    """A drawing of a window, and a table of what is mapped."""
    listed = listing(survey)
    if not listed.files:
        return _page(svg.drawing(survey))
    headings, texts = facts(survey, listed)
    rows = []
    for file in listed.files:
        cut = "" if len(file.shown) == file.total else f"<br/>{len(file.shown)} of {words.count(file.total, 'mapping')}"
        span = f'<td rowspan="{len(file.shown)}"'
        owner = f'{span}>{file.letter}</td>{span} class="name">{_name(file.label)}{cut}</td>'
        for shown in file.shown:
            rows.append(owner + _cells(texts[shown]))
            owner = ""
    more = f"<p>and {words.count(listed.more, 'more mapping')}</p>" if listed.more else ""
    return _page(svg.drawing(survey), _table(("", "file", *headings), rows), more)


def layout_html(layout: "WindowLayout") -> str:
    """A drawing of a guest's RAM and windows, and a table of the windows."""
    rows = [
        f'<td class="name">{_name(share.tag)}</td>'
        + _cells(
            (
                words.address_range(share.base, share.size),
                rough_size(share.size),
                "read-only" if share.readonly else "writable",
            )
        )
        for share in layout.shares.values()
    ]
    table = _table(("share", "guest address", "size", "access"), rows)
    cost = f"<p>The windows cost a Linux guest {rough_size(layout.guest_ram_cost)} of its RAM.</p>"
    return _page(address_map.drawing(layout), table, cost)


def stats_html(stats: "DaxStats") -> str:
    """A table of a mapper's counters, and one of its errors, if there were any."""
    counters = [(name, value) for name, value in stats.as_dict().items() if isinstance(value, int)]
    rows = [
        f'<td>{name}</td><td class="number">{value:,}</td>{_cells([rough_size(value) * name.endswith("_bytes")])}'
        for name, value in counters
    ]
    errors = [
        f'<td>{errorcode.get(number, "")}</td><td class="number">{number}</td><td class="number">{times:,}</td>'
        for number, times in stats.errors.items()
    ]
    return _page(
        _table(("counter", "value", ""), rows),
        _table(("error", "errno", "times"), errors) if errors else "",
    )


def _page(*parts: str) -> str:
    return f'<div class="daxmap">{style()}{"".join(parts)}</div>'


def _table(headings: "Iterable[str]", rows: "Iterable[str]") -> str:
    head = "".join(f'<th scope="col">{heading}</th>' for heading in headings)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(f'<tr>{row}</tr>' for row in rows)}</tbody></table>"


def _cells(texts: "Iterable[str]") -> str:
    return "".join(f"<td>{escape(text)}</td>" for text in texts)


def _name(name: str) -> str:
    """A name that others have chosen. In whichever direction it is written, the text around it stays in place."""
    return f"<bdi>{escape(words.shorten(neutral(name), _NAME, '…'))}</bdi>"
