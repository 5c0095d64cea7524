"""Pictures of what a DAX window shows: text for terminals, SVG, and HTML for notebooks.

`mapper.render()`, `mapper.to_svg()` and the `_repr_html_` of mappers, layouts and counters come here.
"""

from daxmap.picture import html, svg, text
from daxmap.picture.html import layout_html, stats_html
from daxmap.picture.survey import Survey, Surveyed

__all__ = ["layout_html", "mapper_html", "render", "stats_html", "to_svg"]


def render(mapper: Surveyed, width: int | None = None) -> str:
    """Draws a mapper's window as text: see `daxmap.picture.text.render`."""
    return text.render(Survey.of(mapper), width=width)


def to_svg(mapper: Surveyed) -> str:
    """Draws a mapper's window as an SVG document: see `daxmap.picture.svg.to_svg`."""
    return svg.to_svg(Survey.of(mapper))


def mapper_html(mapper: Surveyed) -> str:
    """Draws a mapper's window as a piece of HTML: see `daxmap.picture.html.mapper_html`."""
    return html.mapper_html(Survey.of(mapper))
