"""Mappers that faults happen to, and what must be left of them."""

from errno import EIO, ENODEV, ENOMEM

import pytest

from support import faults
from support.faults import Call, Effect, Fault
from support.host import HOLE, PAGE, shown_in
from support.rig import Rig, Subject, check_balance
from support.rigs import KvmRig, address_of

FREE = 8 * PAGE
"""Where nothing is mapped."""


def opened(rig: Rig, *, live: int = 3) -> Subject:
    """A mapper with some read-only mappings of a page, side by side; their device is proven for both accesses."""
    subject = rig.open(4 << 20)
    file = rig.file(8)
    subject.map(file, 0, writable=True)
    subject.remove(0)
    for page in range(live):
        subject.map(file, page * PAGE, file_offset=page * PAGE)
    subject.agree()
    return subject


def setup(subject: Subject, window_offset: int = FREE, *, writable: bool = False) -> None:
    subject.mapper.setup_mapping(subject.rig.files[0].fd, 0, window_offset, PAGE, writable)


def check_given_up(
    subject: Subject, intruder: int | None, *, swept: int | None = None, lost: int | None = None
) -> None:
    """Check that the mapper is closed, that nothing shows in the window, and that an intruder is left alone."""
    rig, mapper = subject.rig, subject.mapper
    subject.abandon()
    assert mapper.closed
    with pytest.raises(OSError, match="closed") as caught:
        setup(subject)
    assert caught.value.errno == ENODEV
    mapper.drain_all()
    stats = mapper.stats()
    assert stats.live_mappings == len(mapper) == 0
    check_balance(stats)
    assert swept is None or stats.swept_count == swept
    assert lost is None or stats.lost_count == lost
    assert rig.mapped() == []
    if isinstance(rig, KvmRig):
        for page in range(16):
            assert rig.load(mapper, page * PAGE) is None, "the slot is still there"
    else:
        with pytest.raises(OSError, match="reserved") as caught:
            subject.release()
        assert caught.value.errno == EIO
    assert intruder is None or faults.is_untouched_intruder(intruder)


def check_intruder_closes(subject: Subject) -> None:
    """Check that the mapper is given up when a foreign mapping takes the place of a new one, and fails it."""
    address = address_of(subject.mapper) + FREE
    faults.plan(Call.PLACE, Fault(ENOMEM, Effect.INTRUDE))
    with pytest.raises(OSError, match="given up") as caught:
        setup(subject)
    assert caught.value.errno == EIO
    check_given_up(subject, address, swept=3, lost=0)


def holes_in(start: int, size: int) -> int:
    """How many bytes of the range are reserved and show nothing."""
    return sum(piece.end - piece.start for piece in shown_in(start, start + size) if piece.shown == HOLE)
