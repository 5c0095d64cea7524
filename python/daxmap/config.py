"""What the operator of a virtual machine decides about its DAX shares: plain values, checked when made.

This module knows no addresses; `daxmap.layout` places the shares that are named here. Every error message
starts with the path of the key at fault, such as `shares[1].size`.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, Self

from daxmap.checks import check_choice, check_int, check_type
from daxmap.sizes import format_size, size_in_bytes

__all__ = ["DAX_WINDOW_PER_SHARE", "DaxConfig", "ShareConfig"]

DAX_WINDOW_PER_SHARE = 128 * 1024**2
"""The default size of a share's DAX window, in bytes: 128 MiB."""

WINDOW_ALIGNMENT = 2 * 1024**2
"""The unit in which a Linux guest hands out its window, in bytes: FUSE_DAX_SZ in fs/fuse/dax.c."""

DAX_POLICIES = ("always", "inode", "never")
"""Which files a guest maps: all of them, those marked with FUSE_ATTR_DAX, or none."""

DAX_MIN_SIZE = 2 * 1024**2
"""Of the policy "inode": files of fewer bytes are not marked unless the VMM wants it. In bytes: 2 MiB, which a Linux
guest takes of its window for every file, however small."""

_MAX_TAG_BYTES = 36


def min_size_in_bytes(dax: str, min_size: int | str | None) -> int:
    """How large a file has to be to be marked under a policy."""
    if dax == "inode":
        return DAX_MIN_SIZE if min_size is None else size_in_bytes("min_size", min_size)
    if min_size is not None:
        raise ValueError(f'min_size chooses among files, which takes dax="inode", not {dax!r}')
    return 0


def check_tag(tag: str) -> None:
    """Holds a tag to what `virtio_fs_config.tag` can carry: VIRTIO 1.2, section 5.11.4."""
    check_type("tag", tag, str)
    try:
        encoded = tag.encode()
    except UnicodeEncodeError:
        raise ValueError(f"tag: {tag!r} cannot be encoded as UTF-8") from None
    if not encoded:
        raise ValueError("tag: an empty tag; no guest could mount it")
    if len(encoded) > _MAX_TAG_BYTES:
        raise ValueError(f"tag: {tag!r} takes {len(encoded)} bytes of UTF-8; VIRTIO has room for {_MAX_TAG_BYTES}")
    if b"\0" in encoded:
        raise ValueError(f"tag: {tag!r} contains a NUL, where a guest would cut it off")


@dataclass(frozen=True, slots=True)
class ShareConfig:
    """One share, as its operator wants it. Immutable, and so safe to use from any thread.

    >>> ShareConfig("root", "64MiB")
    ShareConfig(tag='root', size=67108864, readonly=False)

    Attributes:
        tag: The virtiofs tag that the guest mounts: 1 to 36 bytes of UTF-8 without NUL (VIRTIO 1.2, section
            5.11.4).
        size: The size of the share's DAX window in bytes: a positive multiple of 2 MiB, below 2**64. It may be given
            as a string, such as "128MiB": a whole number and KiB, MiB, GiB or TiB (powers of 1024).
        readonly: Whether the guest is kept from writing through the window.

    Raises:
        TypeError: A value is of another type; a bool is not an int.
        ValueError: A value is out of its range. The message starts with the attribute's name.
    """

    tag: str
    size: int = DAX_WINDOW_PER_SHARE
    readonly: bool = False

    # Written by hand since it takes more than the attribute holds: a size may come as a string.
    def __init__(
        self,
        tag: str,
        size: int | str = DAX_WINDOW_PER_SHARE,
        readonly: bool = False,  # noqa: FBT001, FBT002  # the order is that of the tuples of WindowLayout
    ) -> None:
        check_tag(tag)
        name = f"size (share {tag!r})"
        size = size_in_bytes(name, size)
        if size < WINDOW_ALIGNMENT:
            raise ValueError(f"{name}: {format_size(size)} is less than the least window, 2 MiB")
        if size % WINDOW_ALIGNMENT:
            raise ValueError(f"{name}: {size} is not a multiple of 2 MiB ({WINDOW_ALIGNMENT})")
        check_type("readonly", readonly, bool)
        for attribute, value in (("tag", tag), ("size", size), ("readonly", readonly)):
            object.__setattr__(self, attribute, value)


@contextmanager
def key_path(parent: str) -> Iterator[None]:
    """Puts the path of the table or sequence item in front of an error that starts with a key."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"{parent}.{error}") from None


def check_shares(shares: tuple[ShareConfig, ...]) -> None:
    """Raises ValueError unless there is at least one share and each tag is used once."""
    if not shares:
        raise ValueError("shares: none given; at least one is needed")
    first_use: dict[str, int] = {}
    for index, share in enumerate(shares):
        first = first_use.setdefault(share.tag, index)
        if first != index:
            raise ValueError(f"shares[{index}].tag: {share.tag!r} is already the tag of shares[{first}]")


@dataclass(frozen=True, slots=True)
class DaxConfig:
    """The DAX shares of one guest and how they are mapped. Immutable, and so safe to use from any thread.

    `WindowLayout.from_config` takes the shares; `max_mappings` and `prefault` are for the VMM to give to each mapper
    (`DaxMapper.for_share`), and `dax` to each server or dispatcher.

    >>> DaxConfig((ShareConfig("root", readonly=True),)).shares[0].size
    134217728

    Attributes:
        shares: The shares in the order of their windows, at least one, each tag once.
        max_mappings: How many mappings each share's mapper may hold at a time, 1 to 2**64-1; None leaves it
            to the mapper, which keeps the whole process within half of the host's vm.max_map_count.
        prefault: Whether a mapping's pages are brought in when it is set up.
        dax: Which files the guest maps: "always" all, "inode" those that the device marks, "never" none.

    Raises:
        TypeError: A value is of another type; a bool is not an int.
        ValueError: A value is out of its range, or a tag is used twice. The message starts with the key's
            path.
    """

    shares: tuple[ShareConfig, ...]
    max_mappings: int | None = field(default=None, kw_only=True)
    prefault: bool = field(default=False, kw_only=True)
    dax: Literal["always", "inode", "never"] = field(default="always", kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.shares, tuple):
            hint = "(share,)" if isinstance(self.shares, ShareConfig) else "tuple(shares)"
            raise TypeError(f"shares: {type(self.shares).__name__} is not a tuple: give {hint}")
        for index, share in enumerate(self.shares):
            check_type(f"shares[{index}]", share, ShareConfig)
        check_shares(self.shares)
        if self.max_mappings is not None:
            check_int("max_mappings", self.max_mappings, low=1)
        check_type("prefault", self.prefault, bool)
        check_choice("dax", self.dax, DAX_POLICIES)

    @classmethod
    def from_toml_table(cls, table: Mapping[str, object]) -> Self:
        """Reads a table that `tomllib` has parsed, whose keys are the attributes of the two classes.

        A key that is left out has the attribute's default; `shares` and each share's `tag` have none.

        >>> import tomllib
        >>> document = tomllib.loads('''
        ... [daxmap]
        ... dax = "inode"
        ... [[daxmap.shares]]
        ... tag = "root"
        ... size = "1GiB"
        ... readonly = true
        ... [[daxmap.shares]]
        ... tag = "home"
        ... size = 134217728
        ... ''')
        >>> config = DaxConfig.from_toml_table(document["daxmap"])
        >>> config.shares[0]
        ShareConfig(tag='root', size=1073741824, readonly=True)
        >>> config.dax
        'inode'

        Raises:
            TypeError: The table, or a value in it, is of another type.
            ValueError: A key is unknown or missing, a value is out of its range, or a tag is used twice. The
                message starts with the key's path.
        """
        if not isinstance(table, Mapping):
            raise TypeError(f"expected a TOML table, not {table!r}")
        values = _known_keys(table, cls)
        shares = values["shares"]
        if not isinstance(shares, list):
            raise TypeError(f"shares: {shares!r} is not an array of tables: write [[shares]]")
        values["shares"] = tuple(_share_from_toml(index, share) for index, share in enumerate(shares))
        return cls(**values)


def _share_from_toml(index: int, table: object) -> ShareConfig:
    if not isinstance(table, Mapping):
        raise TypeError(f"shares[{index}]: {table!r} is not a table")
    with key_path(f"shares[{index}]"):
        values = _known_keys(table, ShareConfig)
        return ShareConfig(**values)


def _known_keys(table: Mapping[str, object], config: type[DaxConfig | ShareConfig]) -> dict[str, Any]:
    """Returns a copy of a table whose keys are fields of a class, with no required one missing."""
    known = {field.name: field for field in fields(config)}
    for key in table:
        if key not in known:
            raise ValueError(f"{key}: unknown key; {_meant(key, known)}")
    for name, known_field in known.items():
        if known_field.default is MISSING and name not in table:
            raise ValueError(f"{name}: missing")
    return dict(table)


def _meant(key: str, known: Iterable[str]) -> str:
    """What to do about a key that there is not."""
    import difflib  # noqa: PLC0415  # only for an error

    if key == "daxmap":
        return 'give document["daxmap"]'
    close = difflib.get_close_matches(key, known, n=1)
    return f"did you mean {close[0]}?" if close else f"the known ones are {', '.join(known)}"
