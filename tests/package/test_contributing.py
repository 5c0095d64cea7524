"""The code in CONTRIBUTING.md works, and what it names is there."""

import re

import pytest

from support.paths import PROJECT

TEXT = (PROJECT / "CONTRIBUTING.md").read_text()


def block(language: str) -> str:
    """The one block of code in a language."""
    (code,) = re.findall(rf"^```{language}\n(.*?)^```$", TEXT, flags=re.DOTALL | re.MULTILINE)
    return str(code)


def test_python_backend_works(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    exec(compile(block("python"), "CONTRIBUTING.md", "exec"), names)  # noqa: S102
    assert capsys.readouterr().out == "b'Hello, guest!'\nb'guest' 1\n"
    assert vars(names["emulator"]) == {"_shown": {}}, "the drain took it away"


def test_rust_hypervisor_is_that_of_the_rust_tests() -> None:
    assert block("rust") in (PROJECT / "rust/daxmap-core/tests/own_hypervisor.rs").read_text()


def test_files_it_names_are_there() -> None:
    named = set(re.findall(r"`((?:rust|python|stubs|tests)/[\w./-]+)`|\]\(([\w./-]+)\)", TEXT))
    paths = {path for pair in named for path in pair if path}
    assert len(paths) > 10
    assert {path for path in paths if not (PROJECT / path).exists()} == set()


def test_make_targets_it_names_are_there() -> None:
    rules = "".join(file.read_text() for file in (PROJECT / "Makefile", *PROJECT.glob("*.mk")))
    targets = re.findall(r"^([a-z0-9-]+):", rules, flags=re.MULTILINE)
    assert set(re.findall(r"(?:^|`)make ([a-z0-9-]+)", TEXT, flags=re.MULTILINE)) <= set(targets)
