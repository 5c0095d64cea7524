"""A share's DAX part of a virtiofs device: FUSE requests in, replies out."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Self

from daxmap._core import _Dispatcher
from daxmap.config import check_int
from daxmap.reopen import keep_descriptors

if TYPE_CHECKING:
    from daxmap.protocols import Mapper, Resolver

__all__ = ["DaxDispatcher", "DaxStatus"]


@dataclass(frozen=True, slots=True)
class DaxStatus:
    """Whether a guest really uses DAX, at one moment. As text it is one line for a log.

    Attributes:
        state: "off" (no mapper, or `dax="never"`), "waiting" (for an INIT to be negotiated), "not offered" (the guest's
            INIT or the VMM's reply knows no DAX), "offered" (no SETUPMAPPING yet), "used" (at least one succeeded),
            "refused" (some came, none succeeded).
        reason: The state in words.
        mapped: SETUPMAPPING requests since the guest's last INIT that succeeded, upgrades included.
        refused: The others, by the Linux errno that the guest was told.
        live: Mappings that the mapper has now; None if it does not tell (`len`).
    """

    state: Literal["off", "waiting", "not offered", "offered", "used", "refused"]
    reason: str
    mapped: int = 0
    refused: Mapping[int, int] = field(default_factory=dict)
    live: int | None = None

    def __str__(self) -> str:
        return f"DAX is {self.state}: {self.reason}"


class DaxDispatcher(_Dispatcher):
    """Replies to the DAX requests of one share: SETUPMAPPING and REMOVEMAPPING.

    A request goes first to `handle`, and if that gives None, to the VMM's own dispatcher; the reply to INIT then goes
    through `negotiate`. Every method may be called from many threads. While a guest restarts, the VMM lets no old
    request of it come in after its new INIT.

    Args:
        mapper: The share's mapper; any object with the methods of `daxmap.protocols.Mapper` will do. None: the share
            has no DAX, and the guest is told ENOSYS.
        resolver: Opens the file of an inode: see `daxmap.protocols.Resolver`. It is called with no lock held.
        dax: Which files the guest is to map: "always" all, "inode" those that `attr_flags` marks, "never" none. It is
            the guest that follows this, and one mounted with `-o dax=always` does not look at marks. To keep a file
            from being mapped, let the resolver raise.
        min_size: With "inode": files of fewer bytes are not marked.
        rule: With "inode": the VMM's own say about a file, from its attributes; false keeps it from being marked.

    Raises:
        TypeError: An argument is of another type, or `mapper` lacks a method.
        ValueError: `dax` is none of the three, `min_size` is negative or over 2**64-1, or `min_size` or `rule` is given
            without "inode".
    """

    _mapper: "Mapper | None"
    _dax: Literal["always", "inode", "never"]
    _rule: Callable[[os.stat_result], bool] | None

    def __new__(
        cls,
        mapper: "Mapper | None",
        resolver: "Resolver",
        *,
        dax: Literal["always", "inode", "never"] = "always",
        min_size: int = 0,
        rule: Callable[[os.stat_result], bool] | None = None,
    ) -> Self:
        """Check the arguments and make the dispatcher: see the class."""
        check_int("min_size", min_size)
        if rule is not None and not callable(rule):
            raise TypeError(f"rule: {rule!r} is not callable")
        if dax != "inode" and (min_size or rule):
            raise ValueError(f'min_size and rule choose among files, which takes dax="inode", not {dax!r}')
        self = super().__new__(cls, mapper, resolver, dax, min_size)
        keep_descriptors()
        self._mapper = mapper
        self._dax = dax
        self._rule = rule
        return self

    def attr_flags(self, stat: os.stat_result) -> int:
        """The flags to put into `fuse_attr.flags` (LOOKUP, GETATTR, READDIRPLUS and the like) of a file.

        Args:
            stat: The file's attributes; `st_mode` and `st_size` count, and what `rule` looks at.

        Returns:
            FUSE_ATTR_DAX if a guest with per-inode DAX should map the file, else 0. 0 for all but regular files.
        """
        flags = self._attr_flags(stat.st_mode, stat.st_size)
        return flags if self._rule is None or (flags and self._rule(stat)) else 0

    def status(self) -> DaxStatus:
        """Whether the guest really uses DAX. Takes no lock but the mapper's own for its length."""
        if self._mapper is None:
            return DaxStatus("off", "the share has no mapper")
        if self._dax == "never":
            return DaxStatus("off", 'the policy is dax="never"')
        mapped, refused = self._setup_counts()
        live = _length(self._mapper)
        refusals = ", ".join(f"refused with Linux errno {number}: {count}" for number, count in refused.items())
        if mapped:
            counts = f"that succeeded: {mapped}" + (f", {refusals}" if refused else "")
            shown = "" if live is None else f"; live mappings: {live}"
            return DaxStatus("used", f"SETUPMAPPING requests {counts}{shown}", mapped, refused, live)
        if refused:
            return DaxStatus("refused", f"SETUPMAPPING requests {refusals}", mapped, refused, live)
        state, reason = self._offer()
        return DaxStatus(state, reason, live=live)


def _length(mapper: "Mapper") -> int | None:
    """How many mappings a mapper has; None if it does not tell."""
    try:
        return len(mapper)  # type: ignore[arg-type]  # it need not have a length
    except Exception:  # noqa: BLE001  # whatever a VMM's own class raises
        return None
