"""Where the DAX windows of a guest's shares lie in its physical address space.

All numbers are bytes or guest physical addresses. Nothing here wraps: what would leave the 64-bit address
space, or the guest's own physical address bits, is a ValueError. The functions are pure and the values are
immutable: use them from any thread.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self, TypeAlias, overload

from daxmap.checks import U64_MAX, check_int, check_type
from daxmap.config import DAX_WINDOW_PER_SHARE, WINDOW_ALIGNMENT, DaxConfig, ShareConfig, check_shares, key_path
from daxmap.sizes import format_size, size_in_bytes

__all__ = ["DAX_WINDOW_PER_SHARE", "Share", "WindowLayout", "dax_window_base", "dax_window_total"]

_ADDRESS_SPACE_END = U64_MAX + 1
_GUEST_PAGE = 4096
_STRUCT_PAGE = 64

_WantedShare: TypeAlias = ShareConfig | tuple[str, int | str] | tuple[str, int | str, bool]


def dax_window_base(ram_base: int, ram_size: int | str) -> int:
    """Returns the first 2 MiB boundary at or above the end of guest RAM: where the DAX window may begin.

    The window must lie above RAM, so that a Linux guest can register it as ZONE_DEVICE memory.

    >>> hex(dax_window_base(0x8000_0000, 0x1000_1000))
    '0x90200000'

    Args:
        ram_base: Guest physical address of RAM, 0 to 2**64-1; if RAM is in several pieces, of the
            highest one.
        ram_size: RAM from there on, 0 to 2**64-1 bytes, as an int or a string such as "4GiB".

    Raises:
        TypeError: An argument is of another type.
        ValueError: An argument is out of its range, or RAM leaves no such boundary below 2**64.
    """
    check_int("ram_base", ram_base)
    ram_size = size_in_bytes("ram_size", ram_size)
    base = -(-(ram_base + ram_size) // WINDOW_ALIGNMENT) * WINDOW_ALIGNMENT
    if base > U64_MAX:
        raise ValueError(f"RAM of {ram_size:#x} bytes at {ram_base:#x} leaves no 2 MiB boundary above it below 2**64")
    return base


def dax_window_total(num_shares: int) -> int:
    """Returns the bytes of DAX window that so many shares of the default size take; at least one share's.

    >>> dax_window_total(3) // DAX_WINDOW_PER_SHARE
    3

    Args:
        num_shares: How many shares there are, at least 0.

    Raises:
        TypeError: The argument is not an int.
        ValueError: The argument is negative, or the total is not below 2**64.
    """
    check_int("num_shares", num_shares)
    total = max(1, num_shares) * DAX_WINDOW_PER_SHARE
    if total > U64_MAX:
        raise ValueError(
            f"{num_shares} shares of {DAX_WINDOW_PER_SHARE} bytes each take {total:#x} bytes, over 64 bits"
        )
    return total


@dataclass(frozen=True, slots=True)
class Share:
    """One share's slice of the DAX window: what its mapper is made with.

    Attributes:
        tag: The virtiofs tag.
        base: Guest physical address of the share's window, a multiple of 2 MiB.
        size: Bytes of the share's window, a positive multiple of 2 MiB.
        readonly: Whether the guest is kept from writing through the window.
    """

    tag: str
    base: int
    size: int
    readonly: bool

    @property
    def end(self) -> int:
        """The guest physical address just past the share's window."""
        return self.base + self.size

    def __repr__(self) -> str:
        return f"Share(tag={self.tag!r}, base={self.base:#x}, size={self.size:#x}, readonly={self.readonly})"


class WindowLayout:
    """The DAX windows of all shares, one after another above guest RAM, each with a base of its own.

    >>> layout = WindowLayout(0, "1GiB", [("root", "128MiB", True), ("src", "64MiB")])
    >>> layout
    <WindowLayout 0x40000000-0x4c000000: 'root' 128 MiB read-only, 'src' 64 MiB; costs the guest 3 MiB of RAM>
    >>> layout["src"]
    Share(tag='src', base=0x48000000, size=0x4000000, readonly=False)
    >>> [share.tag for share in layout], len(layout), "src" in layout
    (['root', 'src'], 2, True)

    Shares are looked up by tag, and iterated over in the order in which they were given and lie in the window. Layouts
    are equal if they place the same shares at the same addresses.

    Args:
        ram_base: Guest physical address of RAM, 0 to 2**64-1; if RAM is in several pieces, of the
            highest one.
        ram_size: RAM from there on, 0 to 2**64-1 bytes, as an int or a string such as "4GiB".
        shares: At least one, each a `ShareConfig`, `(tag, size)` or `(tag, size, readonly)`; or a mapping of tags to
            sizes. `ShareConfig` says what a tag and a size may be.
        phys_bits: How many physical address bits the guest has, 1 to 64; None if not known, and then only the
            end of the 64-bit address space is a limit. On x86 it is CPUID leaf 0x80000008, EAX bits 7 to 0;
            on Arm the IPA size that the VM was made with.

    Raises:
        TypeError: An argument is of another type; a bool is not an int.
        ValueError: A value is out of its range, a tag is used twice, or a share does not fit below 2**64 or
            within `phys_bits`; the message says which share and which limit.
    """

    __slots__ = ("_base", "_shares")

    _base: int
    _shares: dict[str, Share]

    # Two signatures, since mypy infers dict[str, object] for a literal of ints and strings that an iterable could take.
    @overload
    def __init__(
        self, ram_base: int, ram_size: int | str, shares: Mapping[str, int | str], *, phys_bits: int | None = None
    ) -> None: ...
    @overload
    def __init__(
        self, ram_base: int, ram_size: int | str, shares: Iterable[_WantedShare], *, phys_bits: int | None = None
    ) -> None: ...
    def __init__(
        self,
        ram_base: int,
        ram_size: int | str,
        shares: Mapping[str, int | str] | Iterable[_WantedShare],
        *,
        phys_bits: int | None = None,
    ) -> None:
        given = shares.items() if isinstance(shares, Mapping) else shares
        wanted = tuple(_wanted_share(index, share) for index, share in enumerate(given))
        check_shares(wanted)
        if phys_bits is not None:
            check_int("phys_bits", phys_bits, low=1, high=64)
        self._base = dax_window_base(ram_base, ram_size)
        self._shares = {}
        base = self._base
        for config in wanted:
            share = Share(config.tag, base, config.size, config.readonly)
            _check_end(share, phys_bits)
            self._shares[share.tag] = share
            base = share.end

    @classmethod
    def from_config(
        cls, ram_base: int, ram_size: int | str, config: DaxConfig, *, phys_bits: int | None = None
    ) -> Self:
        """Places the shares of a configuration; the other arguments and the errors are those of the class.

        >>> config = DaxConfig((ShareConfig("root"),))
        >>> WindowLayout.from_config(0, 1 << 30, config, phys_bits=36)
        <WindowLayout 0x40000000-0x48000000: 'root' 128 MiB; costs the guest 2 MiB of RAM>
        """
        check_type("config", config, DaxConfig)
        return cls(ram_base, ram_size, config.shares, phys_bits=phys_bits)

    @property
    def shares(self) -> Mapping[str, Share]:
        """The placed shares by tag, read-only, in the order they were given and lie in the window."""
        return MappingProxyType(self._shares)

    @property
    def base(self) -> int:
        """Guest physical address of the window: that of the first share, a multiple of 2 MiB."""
        return self._base

    @property
    def size(self) -> int:
        """Bytes of the window: all shares together, without gaps."""
        return sum(share.size for share in self)

    @property
    def end(self) -> int:
        """The guest physical address just past the window, at most 2**64."""
        return self._base + self.size

    @property
    def guest_ram_cost(self) -> int:
        """Bytes of guest RAM that a Linux guest spends on the window: a struct page of 64 bytes per 4 KiB.

        A window of 8 GiB costs 128 MiB, whether anything is mapped there or not. A guest with larger pages
        pays less.
        """
        return self.size // _GUEST_PAGE * _STRUCT_PAGE

    def __getitem__(self, tag: str) -> Share:
        """The share with this tag.

        Raises:
            KeyError: There is none; the message lists the tags.
        """
        try:
            return self._shares[tag]
        except KeyError:
            raise KeyError(f"no share {tag!r}; the tags are {', '.join(map(repr, self._shares))}") from None

    def __iter__(self) -> Iterator[Share]:
        return iter(self._shares.values())

    def __len__(self) -> int:
        return len(self._shares)

    def __contains__(self, tag: str) -> bool:
        return tag in self._shares

    def __eq__(self, other: object) -> bool:
        return self._shares == other._shares if isinstance(other, WindowLayout) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        shares = ", ".join(
            f"{share.tag!r} {format_size(share.size)}{' read-only' if share.readonly else ''}" for share in self
        )
        cost = format_size(self.guest_ram_cost)
        return f"<WindowLayout {self.base:#x}-{self.end:#x}: {shares}; costs the guest {cost} of RAM>"

    def _repr_html_(self) -> str:
        """A drawing and a table, for notebooks."""
        from daxmap.picture import layout_html  # noqa: PLC0415  # few programs draw

        return layout_html(self)


def _wanted_share(index: int, share: object) -> ShareConfig:
    if isinstance(share, ShareConfig):
        return share
    if not isinstance(share, tuple) or len(share) not in (2, 3):
        raise TypeError(f"shares[{index}]: {share!r} is neither a ShareConfig, (tag, size) nor (tag, size, readonly)")
    with key_path(f"shares[{index}]"):
        return ShareConfig(*share)


def _check_end(share: Share, phys_bits: int | None) -> None:
    where = f"share {share.tag!r} of {share.size:#x} bytes at {share.base:#x} ends at {share.end:#x}"
    if share.end > _ADDRESS_SPACE_END:
        raise ValueError(f"{where}, past the end of the 64-bit address space (2**64)")
    if phys_bits is not None and share.end > 2**phys_bits:
        raise ValueError(f"{where}, past the guest's {phys_bits} physical address bits ({2**phys_bits:#x})")
