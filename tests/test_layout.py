import copy
import doctest
import pickle
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daxmap import (
    DAX_WINDOW_PER_SHARE,
    DaxConfig,
    Share,
    WindowLayout,
    dax_window_base,
    dax_window_total,
    layout,
)
from daxmap.config import ShareConfig

MIB = 1 << 20
SLOT = 2 * MIB
GIB = 1 << 30
ADDRESSES = st.integers(0, 2**64 - 1)


def test_docstring_examples() -> None:
    results = doctest.testmod(layout)
    assert results.attempted > 0
    assert results.failed == 0


# --- dax_window_base and dax_window_total


@pytest.mark.parametrize(
    ("ram_base", "ram_size", "base"),
    [
        (0, 0, 0),
        (0, 1, SLOT),
        (0, SLOT - 1, SLOT),
        (0, SLOT, SLOT),
        (0, SLOT + 1, 2 * SLOT),
        (0x1000, 4 * GIB, 4 * GIB + SLOT),
        (0x4000_0000, 0x8000_0000, 0xC000_0000),
        (2**64 - 2 * SLOT, SLOT, 2**64 - SLOT),
    ],
)
def test_base_is_the_first_2_mib_boundary_at_or_above_ram(ram_base: int, ram_size: int, base: int) -> None:
    assert dax_window_base(ram_base, ram_size) == base


@settings(deadline=None)
@given(ADDRESSES, ADDRESSES)
def test_base_never_wraps(ram_base: int, ram_size: int) -> None:
    ram_end = ram_base + ram_size
    if ram_end > 2**64 - SLOT:
        with pytest.raises(ValueError, match=r"2\*\*64"):
            dax_window_base(ram_base, ram_size)
    else:
        base = dax_window_base(ram_base, ram_size)
        assert base % SLOT == 0
        assert ram_end <= base < ram_end + SLOT


@pytest.mark.parametrize(
    ("ram_base", "ram_size"),
    [(2**64 - SLOT, SLOT), (2**64 - 1, 0), (2**64 - SLOT, 1), (2**64 - 1, 2**64 - 1)],
)
def test_ram_without_a_boundary_above_it_is_refused(ram_base: int, ram_size: int) -> None:
    message = rf"^RAM of {ram_size:#x} bytes at {ram_base:#x} leaves no 2 MiB boundary above it below 2\*\*64$"
    with pytest.raises(ValueError, match=message):
        dax_window_base(ram_base, ram_size)
    with pytest.raises(ValueError, match=message):
        WindowLayout(ram_base, ram_size, [("root", SLOT)])


@pytest.mark.parametrize(("shares", "windows"), [(0, 1), (1, 1), (2, 2), (7, 7), (2**37 - 1, 2**37 - 1)])
def test_total_is_128_mib_for_each_share_and_at_least_one(shares: int, windows: int) -> None:
    assert DAX_WINDOW_PER_SHARE == 128 * MIB
    assert dax_window_total(shares) == windows * 128 * MIB


def test_total_over_64_bits_is_refused() -> None:
    with pytest.raises(ValueError, match=r"137438953472 shares.*over 64 bits"):
        dax_window_total(2**37)


INTEGER_ARGUMENTS: list[tuple[str, Callable[[int], object]]] = [
    ("ram_base", lambda value: dax_window_base(value, GIB)),
    ("ram_size", lambda value: dax_window_base(0, value)),
    ("num_shares", dax_window_total),
    ("ram_base", lambda value: WindowLayout(value, GIB, [("root", SLOT)])),
    ("ram_size", lambda value: WindowLayout(0, value, [("root", SLOT)])),
    ("shares[1].size", lambda value: WindowLayout(0, GIB, [("root", SLOT), ("home", value)])),
    ("phys_bits", lambda value: WindowLayout(0, GIB, [("root", SLOT)], phys_bits=value)),
]


@pytest.mark.parametrize(("name", "call"), INTEGER_ARGUMENTS)
@pytest.mark.parametrize("value", [True, 2.0, b"\0", [1]])
def test_wrong_type_is_a_type_error(name: str, call: Callable[[object], object], value: object) -> None:
    with pytest.raises(TypeError) as caught:
        call(value)
    assert str(caught.value).startswith(name)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(("name", "call"), INTEGER_ARGUMENTS)
@pytest.mark.parametrize("value", [-1, 2**64, -(2**70), pytest.param(10**5000, id="huge")])
def test_out_of_range_is_a_value_error(name: str, call: Callable[[int], object], value: int) -> None:
    with pytest.raises(ValueError, match="is not in the range") as caught:
        call(value)
    assert str(caught.value).startswith(name)
    shown = str(value) if abs(value) < 2**64 else hex(value)
    assert f" {shown} " in str(caught.value)


# --- WindowLayout


@st.composite
def share_lists(draw: st.DrawFn, max_slots: int) -> list[tuple[str, int, bool]]:
    tags = draw(
        st.lists(
            st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=9),
            min_size=1,
            max_size=8,
            unique=True,
        )
    )
    slots = st.one_of(st.integers(1, 4096), st.integers(1, max_slots))
    return [(tag, draw(slots) * SLOT, draw(st.booleans())) for tag in tags]


@settings(deadline=None)
@given(ADDRESSES, ADDRESSES, share_lists(2**43 - 1), st.one_of(st.none(), st.integers(1, 64)))
def test_layout_is_sound_or_refused(
    ram_base: int, ram_size: int, wanted: list[tuple[str, int, bool]], phys_bits: int | None
) -> None:
    limit = 2 ** (64 if phys_bits is None else phys_bits)
    first = -(-(ram_base + ram_size) // SLOT) * SLOT
    total = sum(size for _, size, _ in wanted)
    if first + total > limit:
        with pytest.raises(ValueError, match=r"2\*\*64|physical address bits"):
            WindowLayout(ram_base, ram_size, wanted, phys_bits=phys_bits)
        return
    _assert_sound(WindowLayout(ram_base, ram_size, wanted, phys_bits=phys_bits), ram_base + ram_size, wanted)


@settings(deadline=None)
@given(st.integers(0, 2**40), st.integers(0, 2**40), share_lists(2**38))
def test_layout_that_fits_is_sound(ram_base: int, ram_size: int, wanted: list[tuple[str, int, bool]]) -> None:
    placed = WindowLayout(ram_base, ram_size, wanted)
    _assert_sound(placed, ram_base + ram_size, wanted)
    needed_bits = (placed.end - 1).bit_length()
    WindowLayout(ram_base, ram_size, wanted, phys_bits=needed_bits)
    with pytest.raises(ValueError, match=f"the guest's {needed_bits - 1} physical address bits"):
        WindowLayout(ram_base, ram_size, wanted, phys_bits=needed_bits - 1)


def _assert_sound(placed: WindowLayout, ram_end: int, wanted: list[tuple[str, int, bool]]) -> None:
    shares = list(placed.shares.values())
    assert [(share.tag, share.size, share.readonly) for share in shares] == wanted
    assert list(placed.shares) == [tag for tag, _, _ in wanted]
    assert placed.base == shares[0].base
    assert placed.end == shares[-1].end == placed.base + placed.size
    assert placed.size == sum(share.size for share in shares)
    assert ram_end <= placed.base < ram_end + SLOT
    assert placed.end <= 2**64
    assert all(share.base % SLOT == 0 for share in shares)
    # Each share begins where the one before ends: in order, no overlap, no gap.
    assert [share.base for share in shares[1:]] == [share.end for share in shares[:-1]]
    assert placed.guest_ram_cost == 64 * (placed.size // 4096)


def test_each_share_has_its_own_base_size_and_access() -> None:
    placed = WindowLayout(0x8000_0000, GIB, [("root", 128 * MIB, True), ("home", SLOT), ("tmp", GIB, False)])
    assert (placed.base, placed.size, placed.end) == (0xC000_0000, GIB + 130 * MIB, 0x1_0820_0000)
    root, home, tmp = placed.shares.values()
    assert (root.base, root.size, root.end, root.readonly) == (0xC000_0000, 128 * MIB, 0xC800_0000, True)
    assert (home.base, home.size, home.end, home.readonly) == (0xC800_0000, SLOT, 0xC820_0000, False)
    assert (tmp.base, tmp.size, tmp.end, tmp.readonly) == (0xC820_0000, GIB, 0x1_0820_0000, False)


def test_guest_ram_cost_of_8_gib_is_128_mib() -> None:
    assert WindowLayout(0, GIB, [("a", 3 * GIB), ("b", 5 * GIB)]).guest_ram_cost == 128 * MIB


def test_repr_names_range_shares_and_cost() -> None:
    placed = WindowLayout(0, GIB, [("root", SLOT, True), ("home\n", 2 * GIB)])
    assert repr(placed) == (
        "<WindowLayout 0x40000000-0xc0200000: 'root' 2 MiB read-only, 'home\\n' 2 GiB;"
        " costs the guest 32800 KiB of RAM>"
    )


def test_layout_ending_at_the_last_address_fits() -> None:
    assert WindowLayout(2**64 - 2 * SLOT, SLOT, [("root", SLOT)]).end == 2**64
    assert WindowLayout(2**64 - 2 * SLOT, SLOT, [("root", SLOT)], phys_bits=64).end == 2**64
    assert WindowLayout(0, 2**40 - SLOT, [("root", SLOT)], phys_bits=40).end == 2**40


def test_error_past_2_64_names_the_share_that_does_not_fit() -> None:
    shares = [("root", SLOT), ("home", 2 * SLOT)]
    message = (
        "share 'home' of 0x400000 bytes at 0xffffffffffe00000 ends at 0x10000000000200000,"
        " past the end of the 64-bit address space (2**64)"
    )
    for phys_bits in (None, 64, 40):
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
            WindowLayout(2**64 - 3 * SLOT, SLOT, shares, phys_bits=phys_bits)
        if phys_bits != 40:
            assert str(caught.value) == message


def test_error_past_phys_bits_names_the_share_and_the_bits() -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        WindowLayout(0, 2**36 - SLOT, [("root", SLOT), ("home", SLOT)], phys_bits=36)
    assert str(caught.value) == (
        "share 'home' of 0x200000 bytes at 0x1000000000 ends at 0x1000200000,"
        " past the guest's 36 physical address bits (0x1000000000)"
    )


def test_phys_bits_65_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^phys_bits: 65 is not in the range 1 to 64$"):
        WindowLayout(0, 0, [("root", SLOT)], phys_bits=65)
    with pytest.raises(ValueError, match=r"^phys_bits: 0 is not in the range 1 to 64$"):
        WindowLayout(0, 0, [("root", SLOT)], phys_bits=0)


@pytest.mark.parametrize("size", [1, 4096, SLOT - 1, SLOT + 4096, 3 * MIB])
def test_misaligned_size_names_value_and_share(size: int) -> None:
    with pytest.raises(ValueError, match=r"shares\[1\]\.size \(share 'home'\): .* 2 MiB"):
        WindowLayout(0, GIB, [("root", SLOT), ("home", size)])


def test_duplicate_tag_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"^shares\[2\]\.tag: 'root' is already the tag of shares\[0\]$"):
        WindowLayout(0, GIB, [("root", SLOT), ("home", SLOT), ("root", 2 * SLOT)])


def test_no_shares_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^shares: none"):
        WindowLayout(0, GIB, [])


@pytest.mark.parametrize(
    "share", ["ab", None, 5, (), ("root",), ("root", SLOT, True, 0), ["root", SLOT], {"root": SLOT}]
)
def test_share_that_is_no_pair_or_triple_is_a_type_error(share: tuple[str, int]) -> None:
    with pytest.raises(TypeError, match=r"^shares\[1\]: .* is neither a ShareConfig, \(tag, size\) nor"):
        WindowLayout(0, GIB, [("home", SLOT), share])


def test_shares_may_come_from_an_iterator() -> None:
    assert list(WindowLayout(0, GIB, ((tag, SLOT) for tag in "abc")).shares) == ["a", "b", "c"]


def test_layout_is_immutable() -> None:
    placed = WindowLayout(0, GIB, [("root", SLOT)])
    for name in ("base", "size", "end", "shares", "guest_ram_cost", "other"):
        with pytest.raises(AttributeError):
            setattr(placed, name, 0)
    with pytest.raises(TypeError):
        placed.shares["root"] = placed.shares["root"]  # type: ignore[index]
    with pytest.raises(AttributeError):
        placed.shares["root"].base = 0  # type: ignore[misc]
    assert placed.base == placed.shares["root"].base == GIB


def test_sizes_may_be_strings() -> None:
    assert dax_window_base(0, "1GiB") == GIB
    placed = WindowLayout(0, "1GiB", [("root", "128MiB", True), ("home", "2 MiB")])
    assert placed == WindowLayout(0, GIB, [("root", 128 * MIB, True), ("home", SLOT)])
    assert [share.size for share in placed] == [128 * MIB, SLOT]


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("ram_size", lambda size: dax_window_base(0, size)),
        ("ram_size", lambda size: WindowLayout(0, size, [("root", SLOT)])),
        ("shares[1].size (share 'home')", lambda size: WindowLayout(0, GIB, [("root", SLOT), ("home", size)])),
        ("shares[1].size (share 'home')", lambda size: WindowLayout(0, GIB, {"root": SLOT, "home": size})),
    ],
)
@pytest.mark.parametrize("size", ["4096", "128MB"])
def test_string_that_is_no_size_is_refused_by_name(name: str, place: Callable[[str], object], size: str) -> None:
    with pytest.raises(ValueError, match="is not a whole number with a binary unit") as caught:
        place(size)
    assert str(caught.value).startswith(f"{name}: {size!r} ")


def test_shares_may_be_configs_tuples_or_a_mapping_of_sizes() -> None:
    placed = WindowLayout(0, GIB, [("root", SLOT), ("home", 4 * MIB, True)])
    assert WindowLayout(0, GIB, [ShareConfig("root", SLOT), ("home", 4 * MIB, True)]) == placed
    assert WindowLayout(0, GIB, {"b": SLOT, "a": "4MiB"}) == WindowLayout(0, GIB, [("b", SLOT), ("a", 4 * MIB)])


def test_mapping_has_the_errors_of_a_list() -> None:
    with pytest.raises(ValueError, match=r"^shares: none"):
        WindowLayout(0, GIB, {})
    with pytest.raises(ValueError, match=r"^shares\[1\]\.tag: an empty tag"):
        WindowLayout(0, GIB, {"root": SLOT, "": SLOT})


def test_layout_is_a_collection_of_its_shares_by_tag() -> None:
    placed = WindowLayout(0, GIB, [("root", SLOT), ("home", SLOT, True)])
    assert list(placed) == list(placed.shares.values())
    assert len(placed) == 2
    assert placed
    assert placed["home"] == placed.shares["home"]
    assert "home" in placed
    assert "tmp" not in placed


def test_unknown_tag_is_a_key_error_with_the_tags_that_there_are() -> None:
    placed = WindowLayout(0, GIB, [("root", SLOT), ("home", SLOT)])
    with pytest.raises(KeyError) as caught:
        placed["hom"]
    assert caught.value.args == ("no share 'hom'; the tags are 'root', 'home'",)


def test_layouts_are_equal_if_their_shares_lie_at_the_same_addresses() -> None:
    shares = [("root", SLOT), ("home", SLOT)]
    placed = WindowLayout(0, GIB, shares)
    same = WindowLayout(4096, GIB - 4096, shares, phys_bits=36)
    assert placed == same
    assert hash(placed) == hash(same)
    others = [
        WindowLayout(0, GIB + 1, shares),
        WindowLayout(0, GIB, shares[:1]),
        WindowLayout(0, GIB, shares[::-1]),
        WindowLayout(0, GIB, [("root", SLOT), ("home", SLOT, True)]),
    ]
    assert len({placed, same, *others}) == 5
    assert placed != placed.shares


def test_share_repr_has_its_addresses_in_hexadecimal_and_makes_it_again() -> None:
    share = WindowLayout(0, GIB, [("root\n", SLOT, True)])["root\n"]
    assert repr(share) == "Share(tag='root\\n', base=0x40000000, size=0x200000, readonly=True)"
    assert eval(repr(share), {"Share": Share}) == share  # noqa: S307


@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))],  # noqa: S301
)
def test_layout_can_be_copied_and_pickled(duplicate: Callable[[WindowLayout], WindowLayout]) -> None:
    placed = WindowLayout(0, GIB, [("root", SLOT), ("home", SLOT, True)])
    assert duplicate(placed) == placed
    assert duplicate(placed).base == placed.base


def test_from_config_places_the_configured_shares() -> None:
    config = DaxConfig((ShareConfig("root", 64 * MIB, readonly=True), ShareConfig("home")))
    placed = WindowLayout.from_config(0x1000, GIB, config)
    wanted = [("root", 64 * MIB, True), ("home", DAX_WINDOW_PER_SHARE, False)]
    assert placed.shares == WindowLayout(0x1000, GIB, wanted).shares


def test_from_config_honours_phys_bits() -> None:
    config = DaxConfig((ShareConfig("root"),))
    assert WindowLayout.from_config(0, GIB, config, phys_bits=31).end == GIB + DAX_WINDOW_PER_SHARE
    with pytest.raises(ValueError, match="the guest's 30 physical address bits"):
        WindowLayout.from_config(0, GIB, config, phys_bits=30)


@pytest.mark.parametrize("value", [None, {"shares": []}, [("root", SLOT)]])
def test_from_config_refuses_what_is_no_config(value: DaxConfig) -> None:
    with pytest.raises(TypeError, match=r"^config: .* is of type \w+, not DaxConfig$"):
        WindowLayout.from_config(0, GIB, value)
