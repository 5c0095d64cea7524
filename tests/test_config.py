import copy
import dataclasses
import doctest
import pickle
import tomllib
from collections.abc import Callable
from typing import Any

import pytest

from daxmap import DAX_WINDOW_PER_SHARE, DaxConfig, config
from daxmap.config import ShareConfig

MIB = 1 << 20
ROOT = ShareConfig("root")


def from_toml(text: str) -> DaxConfig:
    return DaxConfig.from_toml_table(tomllib.loads(text))


def shares_toml(*lines: str) -> DaxConfig:
    """Reads a configuration whose second share has these lines."""
    return from_toml("\n".join(['[[shares]]\ntag = "root"\n[[shares]]', *lines]))


def test_docstring_examples() -> None:
    results = doctest.testmod(config)
    assert results.attempted > 0
    assert results.failed == 0


def test_full_table() -> None:
    read = from_toml("""
        max_mappings = 4096
        prefault = true
        dax = "inode"
        shares = [
            { tag = "root", size = "1GiB", readonly = true },
            { tag = "home", size = 134217728, readonly = false },
        ]
    """)
    shares = (ShareConfig("root", 1 << 30, readonly=True), ShareConfig("home", 128 * MIB, readonly=False))
    assert read == DaxConfig(shares, max_mappings=4096, prefault=True, dax="inode")


def test_defaults() -> None:
    read = from_toml('[[shares]]\ntag = "root"')
    assert read == DaxConfig((ROOT,))
    assert (read.max_mappings, read.prefault, read.dax) == (None, False, "always")
    assert (ROOT.size, ROOT.readonly) == (DAX_WINDOW_PER_SHARE, False)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("2048KiB", 2 * MIB),
        ("128MiB", 128 * MIB),
        ("128 MiB", 128 * MIB),
        ("1GiB", 1 << 30),
        ("2TiB", 2 << 40),
        ("16777215TiB", 16777215 << 40),
    ],
)
def test_size_string_has_a_binary_unit(size: str, expected: int) -> None:
    assert shares_toml('tag = "home"', f'size = "{size}"').shares[1].size == expected


@pytest.mark.parametrize(
    "size",
    [
        "",
        "134217728",
        "128",
        "128MB",
        "128M",
        "128mib",
        "128MIB",
        "128MiB ",
        " 128MiB",
        "128  MiB",
        r"128MiB\n",
        "1.5GiB",
        "-2MiB",
        "+2MiB",
        "0x2MiB",
        "1_000MiB",
        "\u0661MiB",
        "MiB",
        "2097152B",
        "1e3MiB",
        pytest.param("9" * 5000 + "MiB", id="huge"),
    ],
)
def test_bad_size_string_is_refused_by_key(size: str) -> None:
    message = r"^shares\[1\]\.size \(share 'home'\): '.*' is not a whole number with a binary unit"
    with pytest.raises(ValueError, match=message):
        shares_toml('tag = "home"', f'size = "{size}"')


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        ("0", "0 B is less than the least window, 2 MiB"),
        ("-2097152", "-2097152 is not in the range"),
        ("4096", "4 KiB is less than the least window, 2 MiB"),
        ("3145728", "3145728 is not a multiple of 2 MiB"),
        ("18446744073709551616", "0x10000000000000000 is not in the range"),
        ('"0MiB"', "0 B is less than the least window, 2 MiB"),
        ('"3MiB"', "3145728 is not a multiple of 2 MiB"),
        ('"16777216TiB"', "0x10000000000000000 is not in the range"),
        ('"99999999999999999999TiB"', "is not in the range"),
    ],
)
def test_size_that_is_no_window_is_refused_by_key(size: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r"^shares\[1\]\.size \(share 'home'\): ") as caught:
        shares_toml('tag = "home"', f"size = {size}")
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("share = []", "share: unknown key; did you mean shares?"),
        (
            '[[shares]]\ntag = "root"\n[extra]',
            "extra: unknown key; the known ones are shares, max_mappings, prefault, dax",
        ),
        (
            '[[shares]]\ntag = "root"\n[[shares]]\ntag = "home"\nread_only = true',
            "shares[1].read_only: unknown key; did you mean readonly?",
        ),
        (
            '[[shares]]\ntag = "root"\nsize = "2MiB"\nbase = 0',
            "shares[0].base: unknown key; the known ones are tag, size, readonly",
        ),
        ('[daxmap]\n[[daxmap.shares]]\ntag = "root"', 'daxmap: unknown key; give document["daxmap"]'),
    ],
)
def test_unknown_key_is_refused_by_its_path(text: str, said: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        from_toml(text)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "shares: missing"),
        ('[[shares]]\ntag = "root"\n[[shares]]\nsize = "2MiB"', "shares[1].tag: missing"),
        ("shares = []", "shares: none given; at least one is needed"),
    ],
)
def test_missing_key_is_refused_by_its_path(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        from_toml(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("shares = 5", "shares"),
        ('shares = "root"', "shares"),
        ('[shares]\ntag = "root"', "shares"),
        ('shares = ["root"]', "shares[0]"),
        ('shares = [{ tag = "root" }, 5]', "shares[1]"),
        ("shares = [{ tag = 5 }]", "shares[0].tag"),
        ('shares = [{ tag = "root", size = 2097152.0 }]', "shares[0].size"),
        ('shares = [{ tag = "root", size = true }]', "shares[0].size"),
        ('shares = [{ tag = "root", readonly = 1 }]', "shares[0].readonly"),
        ('shares = [{ tag = "root", readonly = "yes" }]', "shares[0].readonly"),
        ('max_mappings = true\nshares = [{ tag = "root" }]', "max_mappings"),
        ('max_mappings = "64"\nshares = [{ tag = "root" }]', "max_mappings"),
        ('prefault = 0\nshares = [{ tag = "root" }]', "prefault"),
        ('dax = true\nshares = [{ tag = "root" }]', "dax"),
    ],
)
def test_wrong_type_is_refused_by_its_path(text: str, path: str) -> None:
    with pytest.raises(TypeError) as caught:
        from_toml(text)
    assert str(caught.value).startswith((f"{path}: ", f"{path} (share 'root'): "))


@pytest.mark.parametrize("table", [None, 5, "shares", [("shares", [])]])
def test_table_that_is_no_mapping_is_a_type_error(table: Any) -> None:  # noqa: ANN401 - that is the test
    with pytest.raises(TypeError, match=r"^expected a TOML table, not "):
        DaxConfig.from_toml_table(table)


def test_reading_leaves_the_table_as_it_was() -> None:
    table: dict[str, Any] = {"shares": [{"tag": "root", "size": "2MiB"}]}
    DaxConfig.from_toml_table(table)
    assert table == {"shares": [{"tag": "root", "size": "2MiB"}]}


DUPLICATE = r"^shares\[2\]\.tag: 'root' is already the tag of shares\[0\]$"


def test_duplicate_tag_is_refused_by_path() -> None:
    with pytest.raises(ValueError, match=DUPLICATE):
        from_toml('shares = [{ tag = "root" }, { tag = "home" }, { tag = "root", size = "2MiB" }]')
    with pytest.raises(ValueError, match=DUPLICATE):
        DaxConfig((ROOT, ShareConfig("home"), ShareConfig("root", 2 * MIB)))


@pytest.mark.parametrize("tag", ["a", "a" * 36, "\u00e4" * 18, "\U0001f4c1" * 9, "with space", "/"])
def test_tag_that_virtio_can_carry_is_kept(tag: str) -> None:
    assert ShareConfig(tag).tag == tag


@pytest.mark.parametrize(
    ("tag", "reason"),
    [
        ("", "an empty tag"),
        ("a" * 37, "takes 37 bytes"),
        ("\u00e4" * 18 + "a", "takes 37 bytes"),
        ("a\0", "contains a NUL"),
        ("\0", "contains a NUL"),
        ("a\ud800", "cannot be encoded as UTF-8"),
    ],
)
def test_tag_that_virtio_cannot_carry_is_refused(tag: str, reason: str) -> None:
    with pytest.raises(ValueError, match=rf"^tag: .*{reason}"):
        ShareConfig(tag)
    with pytest.raises(ValueError, match=rf"^shares\[0\]\.tag: .*{reason}"):
        DaxConfig.from_toml_table({"shares": [{"tag": tag}]})


UNCHECKED: Callable[..., Any] = DaxConfig  # for calls that a type checker refuses


@pytest.mark.parametrize(
    ("shares", "path"),
    [
        ([ROOT], "shares"),
        ("root", "shares"),
        (None, "shares"),
        ((ROOT, ("home", 2 * MIB)), "shares[1]"),
        (({"tag": "root"},), "shares[0]"),
    ],
)
def test_constructor_checks_the_type_of_shares(shares: object, path: str) -> None:
    with pytest.raises(TypeError) as caught:
        UNCHECKED(shares)
    assert str(caught.value).startswith(f"{path}: ")


def test_constructor_refuses_no_shares() -> None:
    with pytest.raises(ValueError, match=r"^shares: none given"):
        DaxConfig(())


@pytest.mark.parametrize("value", [0, -1, 2**64])
def test_constructor_refuses_max_mappings_out_of_range(value: int) -> None:
    with pytest.raises(ValueError, match=r"^max_mappings: .* is not in the range 1 to 2\*\*64-1$"):
        DaxConfig((ROOT,), max_mappings=value)


@pytest.mark.parametrize("value", [1, 65530, 2**64 - 1])
def test_constructor_takes_max_mappings_in_range(value: int) -> None:
    assert DaxConfig((ROOT,), max_mappings=value).max_mappings == value


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_mappings", True), ("max_mappings", 1.0), ("prefault", 1), ("prefault", None), ("dax", None)],
)
def test_constructor_refuses_wrong_types(name: str, value: object) -> None:
    with pytest.raises(TypeError, match=f"^{name}: "):
        UNCHECKED((ROOT,), **{name: value})


@pytest.mark.parametrize("value", ["", "Always", "on", "always "])
def test_unknown_dax_policy_is_refused_with_the_known_ones(value: str) -> None:
    with pytest.raises(ValueError, match=r"^dax: .* is not one of 'always', 'inode', 'never'$"):
        UNCHECKED((ROOT,), dax=value)


def test_config_is_frozen_and_hashable() -> None:
    made = DaxConfig((ROOT,))
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.prefault = True  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        ROOT.size = 0  # type: ignore[misc]
    assert hash(made) == hash(DaxConfig((ShareConfig("root"),)))


def test_share_has_its_size_in_bytes_however_it_was_given() -> None:
    share = ShareConfig("root", "64 MiB", readonly=True)
    assert share == ShareConfig(tag="root", size=64 * MIB, readonly=True)
    assert repr(share) == "ShareConfig(tag='root', size=67108864, readonly=True)"
    assert dataclasses.replace(share, size=1 << 30).size == 1 << 30
    for duplicate in (copy.deepcopy(share), pickle.loads(pickle.dumps(share))):  # noqa: S301
        assert duplicate == share


def test_replace_is_checked_too() -> None:
    with pytest.raises(ValueError, match=r"^size \(share 'root'\): 3145728 is not a multiple"):
        dataclasses.replace(ROOT, size=3 * MIB)
    with pytest.raises(ValueError, match=r"^shares: none given"):
        dataclasses.replace(DaxConfig((ROOT,)), shares=())
