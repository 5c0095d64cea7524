"""What mkdocs calls while it builds the site: pages that are made of the repository's files, and links to those."""

import tomllib
from pathlib import Path
from typing import Any

import command_line
import repository

ROOT = Path(__file__).parents[2]


def on_config(config: Any) -> Any:  # noqa: ANN401  # mkdocs is not there when mypy runs
    """Take the project's addresses from the one place where they are."""
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
    config.site_url = urls["Documentation"]
    config.extra["social"] = [{"icon": "fontawesome/brands/github", "link": urls["Source"], "name": "Repository"}]
    config.extra["repository"] = urls["Source"]
    config.watch += [str(ROOT / name) for name in (*repository.PAGES, "python", "stubs", "scripts/site")]
    return config


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: object) -> str:  # noqa: ANN401
    """Put in what the page includes, and turn links to files of the repository into links that work on the site."""
    source = f"docs/{page.file.src_uri}"
    included = page.meta.get("include")
    if included is not None:
        source, markdown = included, (ROOT / included).read_text()
    markdown = markdown.replace("<!-- made of the command's parsers -->", command_line.reference())
    return repository.with_links(markdown, source, page.file.src_uri, config.extra["repository"])
