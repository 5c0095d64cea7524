"""A share's DAX part of a virtiofs device: FUSE requests in, replies out."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Self

from daxmap._core import _Dispatcher
from daxmap.checks import check_callable, check_choice
from daxmap.config import DAX_POLICIES, min_size_in_bytes
from daxmap.status import DaxStatus, status_of

if TYPE_CHECKING:
    from daxmap.protocols import Mapper, Resolver

__all__ = ["DaxDispatcher"]


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
        min_size: With "inode": files of fewer bytes are not marked. An int, or a string such as "64KiB". None: 2 MiB,
            what a Linux guest takes of its window for every file, however small.
        rule: With "inode": the VMM's own say about a file, from its attributes; false keeps it from being marked.

    Raises:
        TypeError: An argument is of another type, or `mapper` lacks a method.
        ValueError: `dax` is none of the three, `min_size` is no size below 2**64, or `min_size` or `rule` is given
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
        min_size: int | str | None = None,
        rule: Callable[[os.stat_result], bool] | None = None,
    ) -> Self:
        """Check the arguments and make the dispatcher: see the class."""
        check_choice("dax", dax, DAX_POLICIES)
        if rule is not None:
            check_callable("rule", rule, "stat")
            if dax != "inode":
                raise ValueError(f'rule chooses among files, which takes dax="inode", not {dax!r}')
        self = super().__new__(cls, mapper, resolver, dax, min_size_in_bytes(dax, min_size))
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
        return status_of(self._mapper, self._dax, self)
