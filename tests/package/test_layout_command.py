"""`daxmap layout`: the windows of some shares as a table, as a drawing, as memory slots, and as JSON."""

import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from daxmap import WindowLayout
from daxmap.cli import main

SHARES = ["--share", "src=1GiB", "--share", "home=512MiB:ro"]

TEXT = """\
share  base         end          size     access
src    0x100000000  0x140000000  1 GiB    writable
home   0x140000000  0x160000000  512 MiB  read-only

The windows take 1536 MiB, and cost the guest 24 MiB of its RAM.

Guest physical addresses:

         0x0 +-----------------------------+
             | RAM               4 GiB     |
 0x100000000 +-----------------------------+
             | src, writable     1 GiB     |
 0x140000000 +-----------------------------+
             | home, read-only   512 MiB   |
 0x160000000 +-----------------------------+
             : free, to 39 bits  506.5 GiB :
0x8000000000 +-----------------------------+

KVM_SET_USER_MEMORY_REGION, with userspace_addr=mapper.host_address:

src   slot=1  guest_phys_addr=0x100000000  memory_size=0x40000000
home  slot=2  guest_phys_addr=0x140000000  memory_size=0x20000000
"""

GAP = """\
0x40000000 +-------------------------+
           | RAM            1025 MiB |
0x80100000 +-------------------------+
           : gap            1 MiB    :
0x80200000 +-------------------------+
           | src, writable  2 MiB    |
0x80400000 +-------------------------+
"""

WIDE = """\
share  base        end         size   access
日本   0x40000000  0x40200000  2 MiB  writable
a      0x40200000  0x40400000  2 MiB  writable
"""
WIDE_BOXES = """\
0x40000000 +-----------------------+
           | 日本, writable  2 MiB |
0x40200000 +-----------------------+
           | a, writable     2 MiB |
0x40400000 +-----------------------+
"""
WIDE_IN_ASCII = """\
share         base        end         size   access
\\u65e5\\u672c  0x40000000  0x40200000  2 MiB  writable
a             0x40200000  0x40400000  2 MiB  writable
"""


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["layout", *arguments]) == 0
    return capsys.readouterr().out


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The line that the command fails with."""
    try:
        code: object = main(["layout", *arguments])
    except SystemExit as stop:  # argparse's
        code = stop.code
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("daxmap layout: ")
    return err.removeprefix("daxmap layout: ").rstrip("\n")


def test_text_is_a_table_a_drawing_and_the_slots(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "--ram", "4GiB", *SHARES, "--phys-bits", "39") == TEXT


def test_drawing_shows_the_gap_above_ram_that_ends_in_between(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "--ram", "1025MiB", "--ram-base", "0x40000000", "--share", "src=2MiB")
    assert GAP in text
    assert "free" not in text


def test_drawing_of_a_guest_whose_address_space_is_full(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "--ram", "1GiB", "--share", "src=1GiB", "--phys-bits", "31")
    assert "0x80000000 +---" in text
    assert "free" not in text


def test_drawing_without_ram_begins_with_the_windows(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "--ram", "0KiB", "--share", "src=1GiB")
    assert "RAM   " not in text
    assert "       0x0 +---" in text


def test_tag_that_would_disturb_the_lines_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "--ram", "1GiB", "--share", "a=b\n\x1b[1m=2MiB")
    assert text.count(r"a=b\n\x1b[1m") == 3
    assert "\x1b" not in text


def test_wide_characters_keep_the_columns(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "--ram", "1GiB", "--share", "日本=2MiB", "--share", "a=2MiB")
    assert text.startswith(WIDE)
    assert WIDE_BOXES in text


def test_tag_that_the_output_cannot_show_is_escaped_and_keeps_the_columns() -> None:
    with redirect_stdout(io.TextIOWrapper(io.BytesIO(), "ascii")) as output:
        assert main(["layout", "--ram", "1GiB", "--share", "日本=2MiB", "--share", "a=2MiB"]) == 0
        output.seek(0)
        assert output.read().startswith(WIDE_IN_ASCII)


def test_json_has_what_the_layout_has(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--ram", "1025MiB", "--ram-base", "0x40000000", *SHARES, "--phys-bits", "40", "--slot", "7", "--json"]
    report: dict[str, Any] = json.loads(printed(capsys, *arguments))
    layout = WindowLayout(0x4000_0000, "1025MiB", [("src", "1GiB"), ("home", "512MiB", True)])
    assert report == {
        "ram": {"base": 0x4000_0000, "end": 0x8010_0000, "size": 1025 << 20},
        "phys_bits": 40,
        "base": layout.base,
        "end": layout.end,
        "size": layout.size,
        "guest_ram_cost": layout.guest_ram_cost,
        "shares": [
            {"tag": "src", "base": 0x8020_0000, "end": 0xC020_0000, "size": 1 << 30, "readonly": False, "slot": 7},
            {"tag": "home", "base": 0xC020_0000, "end": 0xE020_0000, "size": 512 << 20, "readonly": True, "slot": 8},
        ],
    }


@pytest.mark.parametrize("header", ["", "daxmap."])
def test_shares_may_come_from_a_file(header: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "vm.toml"
    other = "[other]\nkey = 1\n" if header else ""
    file.write_text(
        f'{other}[[{header}shares]]\ntag = "src"\nsize = "1GiB"\n'
        f'[[{header}shares]]\ntag = "home"\nsize = "512MiB"\nreadonly = true\n'
    )
    assert printed(capsys, "--ram", "4GiB", "--phys-bits", "39", str(file)) == TEXT


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--share", "src=3GiB", "--share", "home=2GiB", "--phys-bits", "33"],
            "share 'home' of 0x80000000 bytes at 0x1c0000000 ends at 0x240000000, past the guest's 33 physical",
        ),
        (["--share", "src=1GiB", "--phys-bits", "32"], "past the guest's 32 physical address bits (0x100000000)"),
        (["--share", "src=1GiB", "--phys-bits", "65"], "--phys-bits: 65 is not in the range 1 to 64"),
        (["--share", "src=8388608TiB", "--share", "home=8388608TiB"], "past the end of the 64-bit address space"),
        (["--share", "src=1GiB", "--share", "src=1GiB"], "--share: 'src' is the tag of more than one"),
        (["--share", "src=1GiB", "home=2MiB"], "FILE: 'home=2MiB' is a share: each share needs its own --share"),
        (["src=1GiB", "home=2MiB"], "FILE: 'src=1GiB' is a share: each share needs its own --share"),
        (["--share", "src=1GiB", "--ram-base", "1GiB"], "--ram-base: '1GiB' is no address, such as 0x80000000"),
        (["--share", "src=1GiB", "--ram-base=-1"], "--ram-base: -1 is not in the range"),
        (
            ["--share", "src=1GiB", "--ram-base", "80000000"],
            "--ram-base: 80000000 is not a multiple of 4 KiB; did you mean 0x80000000?",
        ),
        (["--share", "src=1GiB", "--ram-base", "80000001"], "--ram-base: 80000001 is not a multiple of 4 KiB"),
        (["--share", "src=1GiB", "--slot", "-1"], "--slot: -1 is not in the range 0 to 4294967295"),
        (["--share", "a=2MiB", "--share", "b=2MiB", "--slot", "4294967295"], "--slot: 4294967295 is not in the range"),
        (["--share", "src"], "--share: 'src' is not TAG=SIZE or TAG=SIZE:ro"),
        (["--share", "src=1GB"], "--share: size (share 'src'): '1GB' is not a whole number"),
        (["--share", "src=1GiB:rx"], "--share: size (share 'src'): '1GiB:rx' is not a whole number"),
        (["--share", "src=1MiB"], "--share: size (share 'src'): 1 MiB is less than the least window, 2 MiB"),
        (["--share", "=1GiB"], "--share: an empty tag"),
        ([], "no shares: give --share TAG=SIZE for each of them, or a FILE"),
        (["--share", "src=1GiB", "wrong.toml"], "the shares come from --share or from a FILE, not from both"),
        (["wrong.toml"], "wrong.toml: shares[0].tag: missing"),
        (["none.toml"], "none.toml: No such file or directory"),
    ],
)
def test_what_cannot_be_is_a_line_and_exit_code_2(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "wrong.toml").write_text('[[shares]]\nsize = "1GiB"\n')
    monkeypatch.chdir(tmp_path)
    line = refusal(capsys, "--ram", "4GiB", *arguments)
    assert said in line
    assert line.startswith(said) or not said.startswith("-")


def test_ram_without_a_unit_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(capsys, "--ram", "4096", *SHARES).startswith("--ram: '4096' is not a whole number")
    assert refusal(capsys, *SHARES) == "the following arguments are required: --ram"
