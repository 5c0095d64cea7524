"""A share's DAX part of a virtiofs device: FUSE requests in, replies out."""

import mmap
import os
import stat as stat_modes
import struct
from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, Self

from daxmap._core import _Dispatcher
from daxmap.config import DAX_POLICIES, check_int
from daxmap.fuse import (
    FUSE_ATTR_DAX,
    FUSE_HAS_INODE_DAX,
    FUSE_INIT,
    FUSE_INIT_EXT,
    FUSE_KERNEL_VERSION,
    FUSE_MAP_ALIGNMENT,
    InHeader,
    InitIn,
    InitOut,
    OutHeader,
)
from daxmap.reopen import keep_descriptors

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from daxmap.protocols import Mapper, Resolver

__all__ = ["DaxDispatcher", "DaxStatus"]

# Where fields of `struct fuse_init_out` end: an older reply stops before them.
_END_OF_MAP_ALIGNMENT = 32
_END_OF_FLAGS2 = 36

_OPCODE = struct.Struct("<4xI")

_Negotiated = tuple[Literal["waiting", "not offered", "offered"], str]
"""What `negotiate` has to tell `status`."""


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
    """Answers the DAX requests of one share: SETUPMAPPING and REMOVEMAPPING.

    A request goes first to `handle`, and if that gives None, to the VMM's own dispatcher; the reply to INIT then goes
    through `negotiate`. Every method may be called from many threads. While a guest restarts, the VMM lets no old
    request of it come in after its new INIT.

    Args:
        mapper: The share's mapper; any object with the methods of `daxmap.protocols.Mapper` will do. None: the share
            has no DAX, and its requests are answered ENOSYS.
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
    _min_size: int
    _rule: Callable[[os.stat_result], bool] | None
    _negotiated: _Negotiated

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
        if dax not in DAX_POLICIES:
            raise ValueError(f"dax: {dax!r} is not one of {', '.join(map(repr, DAX_POLICIES))}")
        check_int("min_size", min_size)
        if rule is not None and not callable(rule):
            raise TypeError(f"rule: {rule!r} is not callable")
        if dax != "inode" and (min_size or rule):
            raise ValueError(f'min_size and rule choose among files, which takes dax="inode", not {dax!r}')
        self = super().__new__(cls, None if dax == "never" else mapper, resolver)
        keep_descriptors()
        self._mapper = mapper
        self._dax = dax
        self._min_size = min_size
        self._rule = rule
        self._negotiated = ("waiting", "no INIT was negotiated yet")
        return self

    def negotiate(self, init_request: "ReadableBuffer", init_reply: "ReadableBuffer") -> bytes:
        """Put the DAX part into the VMM's own reply to INIT: flags that the guest offered, and `map_alignment`.

        The reply keeps its length, and everything else that is in it. It comes back as it is if the guest offered no
        DAX, the share has none, or there is no room for `map_alignment`; and for a request that is no INIT, so that
        every reply may be passed through. Never raises for what a guest may have sent.

        Args:
            init_request: The guest's whole request, header included.
            init_reply: The VMM's whole reply, header included.

        Returns:
            The whole reply for the guest.

        Raises:
            ValueError: The request is an INIT and the reply is none to it: its length is not what its header says.
        """
        reply = bytes(init_reply)
        wanted = _parse_init(init_request)
        if wanted is None:
            return reply
        header, body = OutHeader.parse(reply), reply[OutHeader.SIZE :]
        if header.length != len(reply):
            raise ValueError(f"the reply to INIT has {len(reply)} bytes, and its header says {header.length}")
        if header.error or wanted.major != FUSE_KERNEL_VERSION:
            return reply  # the guest gives up, or tries again with version 7
        if not self._is_on():
            return reply
        if not wanted.flags & FUSE_MAP_ALIGNMENT:
            self._negotiated = ("not offered", "the guest's INIT has no FUSE_MAP_ALIGNMENT")
            return reply
        if len(body) < _END_OF_MAP_ALIGNMENT:
            self._negotiated = ("not offered", f"the VMM's reply to INIT, of {len(body)} bytes, has no map_alignment")
            return reply
        self._negotiated = ("offered", "no SETUPMAPPING came yet")
        return reply[: OutHeader.SIZE] + _offer(wanted, body)

    def attr_flags(self, stat: os.stat_result) -> int:
        """The flags to put into `fuse_attr.flags` (LOOKUP, GETATTR, READDIRPLUS and the like) of a file.

        Args:
            stat: The file's attributes; `st_mode` and `st_size` count, and what `rule` looks at.

        Returns:
            FUSE_ATTR_DAX if a guest with per-inode DAX should map the file, else 0. 0 for all but regular files.
        """
        if not self._is_on() or not stat_modes.S_ISREG(stat.st_mode):
            return 0
        if stat.st_size < self._min_size or (self._rule is not None and not self._rule(stat)):
            return 0
        return FUSE_ATTR_DAX

    def status(self) -> DaxStatus:
        """Whether the guest really uses DAX. Takes no lock but the mapper's own for its length."""
        if self._mapper is None:
            return DaxStatus("off", "the share has no mapper")
        if self._dax == "never":
            return DaxStatus("off", 'the policy is dax="never"')
        mapped, refused = self.setup_counts()
        live = len(self._mapper) if isinstance(self._mapper, Sized) else None
        refusals = ", ".join(f"refused with Linux errno {number}: {count}" for number, count in refused.items())
        if mapped:
            counts = f"that succeeded: {mapped}" + (f", {refusals}" if refused else "")
            shown = "" if live is None else f"; live mappings: {live}"
            return DaxStatus("used", f"SETUPMAPPING requests {counts}{shown}", mapped, refused, live)
        if refused:
            return DaxStatus("refused", f"SETUPMAPPING requests {refusals}", mapped, refused, live)
        state, reason = self._negotiated
        return DaxStatus(state, reason, live=live)

    def _is_on(self) -> bool:
        return self._mapper is not None and self._dax != "never"


def _parse_init(request: "ReadableBuffer") -> InitIn | None:
    """The body of a request if that is an INIT; a guest may have sent anything."""
    try:
        # A look ahead, to be quick about all the others: what counts is read from a copy.
        if _OPCODE.unpack_from(request) != (FUSE_INIT,):
            return None
        copy = bytes(request)
        header = InHeader.parse(copy)
        if header.opcode == FUSE_INIT and header.length == len(copy):
            return InitIn.parse(copy[InHeader.SIZE :])
    except (struct.error, ValueError):
        pass
    return None


def _offer(wanted: InitIn, body: bytes) -> bytes:
    """The body of a reply to INIT with the DAX flags in it, of the same length."""
    out = InitOut.parse(body.ljust(InitOut.SIZE, b"\0"))
    out = replace(out, flags=out.flags | FUSE_MAP_ALIGNMENT, map_alignment=mmap.PAGESIZE.bit_length() - 1)
    if len(body) >= _END_OF_FLAGS2 and wanted.flags & FUSE_HAS_INODE_DAX:
        flags2 = out.flags2 if out.flags & FUSE_INIT_EXT else 0  # without FUSE_INIT_EXT the field says nothing
        out = replace(out, flags=out.flags | FUSE_INIT_EXT, flags2=flags2 | FUSE_HAS_INODE_DAX >> 32)
    return out.build()[: len(body)] + body[InitOut.SIZE :]
