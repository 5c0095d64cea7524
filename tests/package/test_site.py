"""What the pages of docs/ show runs, and prints what they say; they link to what there is."""

import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from daxmap.cli import command_line
from support.guests import open_vm
from support.pages import DOCS, END_OF_BLOCK, commands, matches, pages, read_page
from support.paths import PROJECT
from support.programs import TIMEOUT

PAGES = {str(path.relative_to(DOCS)): path for path in pages()}
RUN = [name for name, path in PAGES.items() if read_page(path).steps]


def need(what: str) -> None:
    """Skip a page whose guest can't be had here."""
    if what == "kvm":
        open_vm().close()
    elif what == "unicorn":
        pytest.importorskip("unicorn", reason="unicorn is not installed", exc_type=ImportError)
    else:
        pytest.fail(f"a page needs {what}: kvm and unicorn are known")


@pytest.mark.parametrize("name", RUN)
def test_page_runs_as_shown(name: str, tmp_path: Path) -> None:
    page = read_page(PAGES[name])
    if page.needs:
        need(page.needs)
    program, directory = tmp_path / name.replace("/", "-"), tmp_path / "empty"
    program.write_text(page.program())
    directory.mkdir()
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [sys.executable, "-W", "error", program],
        cwd=directory,
        env=os.environ | {"PATH": path, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Exception ignored" not in done.stderr, done.stderr  # a warning that nobody could be told
    *printed, rest = done.stdout.split(END_OF_BLOCK)
    assert rest == ""
    assert len(printed) == len(page.steps)
    for step, output in zip(page.steps, printed, strict=True):
        if step.output is not None:
            assert matches(step.output, output), f"line {step.block.line} printed:\n{output}"


def shown_commands() -> set[str]:
    """Every command of a ```console block that may be run."""
    blocks = [block for path in PAGES.values() for block in read_page(path).blocks]
    shown = [block for block in blocks if block.language == "console" and block.remark is None]
    return {command for block in shown for command in commands(block)}


def test_options_of_the_command_that_pages_show_exist() -> None:
    for command in shown_commands():
        words = shlex.split(command)
        if words[:1] == ["sudo"]:
            del words[0]
        if words[0] == "daxmap":
            ends = [number for number, word in enumerate(words) if re.fullmatch(r"[|&;]+|[0-9]?>.*|<", word)]
            command_line().check_names(words[1 : min(ends, default=None)])


def test_targets_of_make_that_pages_show_exist() -> None:
    rules = "".join(file.read_text() for file in (PROJECT / "Makefile", *PROJECT.glob("*.mk")))
    shown = {word for command in shown_commands() for word in re.findall(r"^make ([a-z][a-z0-9-]*)", command)}
    assert shown <= set(re.findall(r"^([a-z][a-z0-9-]*):", rules, re.MULTILINE))


def test_links_lead_to_what_there_is() -> None:
    """Anchors, and whether every page is in the navigation, is for `make docs` to find out."""
    for path in (*PAGES.values(), *PROJECT.glob("*.md")):
        text = re.sub(r"^( *)(```+).*?^\1\2$", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
        for link in re.findall(r"\]\((?![a-z]+:|#)([^)#\s]+)", text):
            assert (path.parent / link).exists(), f"{path.relative_to(PROJECT)} links to {link}"


def test_a_page_s_outputs_are_compared(tmp_path: Path) -> None:
    text = """\
        ```python
        print(1)
        ```
        <!-- output -->
        ```text
        {}
        ```
        """
    for shown, same in (("1", True), ("...", True), ("2", False), ("1\n1", False), ("", False)):
        page = tmp_path / "page.md"
        page.write_text(textwrap.dedent(text).format(shown))
        (step,) = read_page(page).steps
        assert step.output is not None
        assert matches(step.output, "1\n") is same
