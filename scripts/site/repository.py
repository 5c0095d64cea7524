"""Links of Markdown files that are written for the repository, as links of the site."""

import logging
import posixpath
import re
from pathlib import Path

__all__ = ["PAGES", "with_links"]

_log = logging.getLogger("mkdocs.hooks.repository")  # of mkdocs, so that a warning ends a strict build

ROOT = Path(__file__).parents[2]

# The pages of the site that are files of the repository, by the name of the file.
PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing/index.md",
    "DESIGN.md": "explanation/design.md",
    "SAFETY.md": "explanation/safety.md",
}

# A block of code, in which nothing is a link, or the target of a link.
_FENCE_OR_TARGET = re.compile(
    r"^( *)(```+).*?^\1\2$|(?<=\]\()(?![a-z]+:|#)(?P<path>[^)#\s]+)", re.DOTALL | re.MULTILINE
)


def with_links(markdown: str, source: str, page: str, repository: str) -> str:
    """Give the links of a file the targets that they have on the site.

    Args:
        markdown: The text of the file.
        source: Its path in the repository, which its links start from.
        page: The page that it becomes, as a path in docs/.
        repository: Address of the repository, for files that are no pages.
    """

    def target(match: re.Match[str]) -> str:
        if match["path"] is None:
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), match["path"]))
        if path in PAGES:
            return posixpath.relpath(PAGES[path], posixpath.dirname(page))
        if path.startswith("docs/"):
            return posixpath.relpath(path.removeprefix("docs/"), posixpath.dirname(page))  # mkdocs checks it
        if not (ROOT / path).exists():
            _log.warning("%s links to %s, and there is no %s", source, match["path"], path)
        return f"{repository}/{'tree' if (ROOT / path).is_dir() else 'blob'}/main/{path}"

    return _FENCE_OR_TARGET.sub(target, markdown)
