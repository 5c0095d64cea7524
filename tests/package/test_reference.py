"""The reference of docs/ has a row for whatever the code can say."""

import re

import pytest

from daxmap import DaxStats
from support.pages import DOCS
from support.paths import PROJECT

ERRORS = (DOCS / "reference/errors.md").read_text()
CORE = PROJECT / "rust/daxmap-core/src"
FILES = PROJECT / "rust/daxmap-virtiofs/src"
OPCODES = FILES / "opcodes.rs"


def section(text: str, title: str) -> str:
    """A part of a page, from its heading to the next one of that level."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert found, title
    return found[1]


def named_first(text: str) -> set[str]:
    """The names in the first column of the tables of a text."""
    cells = re.findall(r"^\| ([^|]*) \|", text, re.MULTILINE)
    return {name.strip("` ") for cell in cells for name in cell.split(",")}


def test_each_errno_of_the_core_has_a_row() -> None:
    source = (CORE / "error.rs").read_text()
    function = source[source.index("pub fn errno(&self)") : source.index("pub(crate) fn misaligned")]
    errnos = set(re.findall(r"libc::(E\w+)", function))
    assert len(errnos) > 10
    assert errnos <= named_first(section(ERRORS, "Of a mapper"))


@pytest.mark.parametrize("owner", ["DaxMapper", "HostWindowBackend", "KvmBackend", "HypervisorBackend", "HvfBackend"])
def test_each_errno_that_a_docstring_names_has_a_row(owner: str) -> None:
    stub = (PROJECT / "stubs/daxmap/_core.pyi").read_text()
    (text,) = re.findall(rf"^class {owner}:\n(.*?)(?=^@|^class )", stub, re.DOTALL | re.MULTILINE)
    listed = named_first(section(ERRORS, "Of a mapper") + section(ERRORS, "Of making a mapper or a backend"))
    assert set(re.findall(r"\bE[A-Z]{3,}\b", text)) - {"EXEC"} <= listed


def test_each_errno_that_the_file_server_gives_a_guest_has_a_row() -> None:
    sources = [FILES / "server.rs", *(FILES / "share").glob("*.rs")]
    errnos = {name for source in sources for name in re.findall(r"libc::(E[A-Z0-9]+)\b", source.read_text())}
    assert len(errnos) > 10
    assert errnos <= named_first(section(ERRORS, "What a guest is told"))


def test_each_request_has_a_row() -> None:
    requests = set(re.findall(r"^(?:pub\(crate\) )?const (\w+): u32 = \d+;", OPCODES.read_text(), re.MULTILINE))
    assert len(requests) > 30
    wanted = requests | {"INIT", "DESTROY", "SETUPMAPPING", "REMOVEMAPPING"}
    assert wanted <= named_first((DOCS / "reference/fuse.md").read_text())


def test_each_counter_has_a_row() -> None:
    page = (DOCS / "reference/counters.md").read_text()
    assert set(DaxStats().as_dict()) <= named_first(section(page, "What each one means"))


def test_figures_of_the_chart_were_measured() -> None:
    page = (DOCS / "explanation/performance.md").read_text()
    _, _, rest = page.partition("<!-- chart: pictures/performance.svg -->\n\n")
    table, _, below = rest.partition("\n\n")
    tables = below + (DOCS / "contributing/performance.md").read_text()
    measured = "\n".join(line for line in tables.splitlines() if line.startswith("|"))
    ratios = re.findall(r"\| ([0-9.]+) \|$", table, re.MULTILINE)
    assert len(ratios) > 5
    for ratio in ratios:
        assert re.search(rf"[| ,]{re.escape(ratio)}[ |(,]", measured), ratio
