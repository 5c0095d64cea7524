"""`daxmap config check`: whether a file is right, or which key of it is wrong."""

from pathlib import Path

import pytest

from daxmap.cli import main

ROOT = '[[shares]]\ntag = "root"\n'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ROOT, "1 share, 128 MiB of DAX windows, which cost the guest 2 MiB of RAM"),
        (
            ROOT + '[[shares]]\ntag = "home"\nsize = "1GiB"\n',
            "2 shares, 1152 MiB of DAX windows, which cost the guest 18 MiB of RAM",
        ),
        (
            '[vm]\nram = 4\n[daxmap]\ndax = "inode"\n[[daxmap.shares]]\ntag = "root"\nsize = "1GiB"\n',
            "1 share, 1 GiB of DAX windows, which cost the guest 16 MiB of RAM",
        ),
    ],
)
def test_right_file_is_summed_up(text: str, said: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "vm.toml").write_text(text)
    assert main(["config", "check", "vm.toml"]) == 0
    assert capsys.readouterr() == (f"vm.toml: ok: {said}\n", "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            ROOT + '[[shares]]\ntag = "home"\nsize = 1.5\n',
            "shares[1].size (share 'home'): 1.5 is of type float, not int",
        ),
        (ROOT + '[[shares]]\nsize = "1GiB"\n', "shares[1].tag: missing"),
        (ROOT + '[[shares]]\ntag = "h"\nsize = "1GB"\n', "shares[1].size (share 'h'): '1GB' is not a whole number"),
        ('[daxmap]\nshares = [{ tag = "root", access = "ro" }]\n', "daxmap.shares[0].access: unknown key"),
        ('[daxmp]\nshares = [{ tag = "root" }]\n', "vm.toml: daxmp: unknown table; did you mean daxmap?"),
        ("[vm]\nram = 4\n", "vm.toml: vm: unknown key; the known ones are shares, max_mappings, prefault, dax"),
        ('[[share]]\ntag = "root"\n', "vm.toml: share: unknown key; did you mean shares?"),
        ("daxmap = 5\n", "daxmap: 5 is not a table"),
        ("", "shares: missing"),
        (ROOT + '[[shares]]\ntag = "huge"\nsize = "17592186044414MiB"\n', "past the end of the 64-bit address space"),
        ("dax = 'inode'\nshares [\n", "Expected '=' after a key in a key/value pair (at line 2, column 8)"),
        ("dax = 'inode'\nshares = [\n", "Invalid value (at the end, line 2)"),
        ("dax = '\udcff'\n", "byte 7 is no UTF-8"),
    ],
)
def test_wrong_file_is_a_line_that_says_where(
    text: str, said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "vm.toml").write_bytes(text.encode(errors="surrogateescape"))
    assert main(["config", "check", "vm.toml"]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("daxmap config check: vm.toml: ")
    assert said in err


@pytest.mark.parametrize(("name", "said"), [("none.toml", "No such file or directory"), (".", "Is a directory")])
def test_file_that_cannot_be_read_is_told_apart(name: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check", name]) == 2
    assert capsys.readouterr() == ("", f"daxmap config check: {name}: {said}\n")
