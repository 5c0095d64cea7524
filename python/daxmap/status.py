"""Whether a guest really uses DAX: most of what goes wrong with DAX is silent, and the guest merely slower."""

import errno
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from daxmap.protocols import Mapper

__all__ = ["DaxStatus", "status_of", "status_of_session"]


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


class Session(Protocol):
    """What a share has with its guest."""

    def _offer(self) -> tuple[Literal["waiting", "not offered", "offered"], str]: ...
    def _setup_counts(self) -> tuple[int, dict[int, int], str | None]: ...


def status_of(mapper: "Mapper | None", dax: Literal["always", "inode", "never"], session: Session) -> DaxStatus:
    """The status of a share with this mapper and policy."""
    if mapper is None:
        return DaxStatus("off", "the share has no mapper")
    if dax == "never":
        return DaxStatus("off", 'the policy is dax="never"')
    return status_of_session(session, _length(mapper))


def status_of_session(session: Session, live: int | None) -> DaxStatus:
    """The status of a share that offers DAX, which has `live` mappings now."""
    mapped, refused, warning = session._setup_counts()  # noqa: SLF001  # of a base class in Rust
    parts = [f"refused with Linux errno {number}{_name(number)}: {count}" for number, count in refused.items()]
    if mapped:
        parts.insert(0, f"that succeeded: {mapped}")
    told = f"SETUPMAPPING requests {', '.join(parts)}"
    if mapped and live is not None:
        told += f"; live mappings: {live}"
    if refused and warning:
        told += f"; the last warning: {warning}"
    if mapped:
        return DaxStatus("used", told, mapped, refused, live)
    if refused:
        return DaxStatus("refused", told, mapped, refused, live)
    state, reason = session._offer()  # noqa: SLF001
    return DaxStatus(state, reason, live=live)


def _name(number: int) -> str:
    """The name of a Linux errno, where this host's numbers are Linux's."""
    name = errno.errorcode.get(number) if sys.platform == "linux" else None
    return f" ({name})" if name else ""


def _length(mapper: "Mapper") -> int | None:
    """How many mappings a mapper has; None if it does not tell."""
    try:
        return len(mapper)  # type: ignore[arg-type]  # it need not have a length
    except Exception:  # noqa: BLE001  # whatever a VMM's own class raises
        return None
