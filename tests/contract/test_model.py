"""Random walks over each backend, with faults in any of its calls and changes to the files in between.

For more of them: DAXMAP_MODEL_WALKS=5000 pytest tests/contract/test_model.py.
"""

from collections.abc import Sequence
from errno import EACCES, EAGAIN, ENODEV, ENOMEM, EPERM
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st

from support import faults, recording
from support.children import run_in_child
from support.faults import Call, Effect
from support.host import HOLE, PAGE, Piece, vmas
from support.hypervisor_rig import HypervisorRig, ProtectingHypervisorRig, pages
from support.rig import Rig
from support.rigs import address_of, expected_in
from support.walk import ROUNDS, WINDOW_SIZE, Walk, take_walks

SLOT = 2 << 20
WINDOW_FAULTS = st.builds(
    faults.Fault,
    st.sampled_from([ENOMEM, ENODEV, EAGAIN]),
    st.sampled_from([Effect.EMPTY, Effect.KEEP, Effect.EMPTY, Effect.KEEP, Effect.INTRUDE]),
    skip=st.sampled_from([0, 0, 0, 1, 2]),
    times=st.integers(1, 3),
)
HYPERVISOR_FAULTS = st.sampled_from(
    [
        None,
        recording.Fault(returns=5),
        recording.Fault(raises=OSError(ENOMEM, "no")),
        recording.Fault(raises=OSError(ENOMEM, "late"), works_first=True),
    ]
)


class WindowWalk(Walk[tuple[Call, faults.Fault]]):
    """Over a host window, in a process where system calls can be made to fail."""

    fault_lists = st.one_of(
        st.just([]),
        WINDOW_FAULTS.map(lambda fault: [(Call.PLACE, fault), (Call.CLEAR, fault)]),
        WINDOW_FAULTS.map(lambda fault: [(Call.PLACE, fault), (Call.CLEAR, fault), (Call.REFILL, faults.Fault(EPERM))]),
        st.just([(Call.PROBE, faults.Fault(EACCES))]),
    )

    def strike(self, faults_: Sequence[tuple[Call, faults.Fault]]) -> None:
        planned = dict(faults_)
        for call in (Call.PLACE, Call.CLEAR, Call.REFILL, Call.PROBE):
            faults.plan(call, planned.get(call))

    def check_given_up(self) -> None:
        start = address_of(self.subject.mapper)
        assert not [vma for vma in self.rig.mapped() if start <= vma.start < start + WINDOW_SIZE]

    def check(self) -> None:
        super().check()
        # A mapping is at most one area, also beside another of its file: the kernel joins those of one open(2) only.
        # And so is what lies between two in one slot. The budget counts on it.
        start = address_of(self.subject.mapper)
        areas = sum(start <= vma.start < start + WINDOW_SIZE for vma in vmas())
        holes = [piece for piece in expected_in(self.subject) if piece.shown == HOLE]
        assert areas <= len(self.subject.model) + sum(slots_of(hole, start) for hole in holes)


def slots_of(piece: Piece, start: int) -> int:
    """How many slots of a window a range touches."""
    return (piece.end - 1 - start) // SLOT - (piece.start - start) // SLOT + 1


class HypervisorWalk(Walk[recording.Fault | None]):
    """Over a hypervisor that may refuse each call."""

    rig: HypervisorRig
    fault_lists: ClassVar[st.SearchStrategy[Any]] = st.just([]) | st.lists(HYPERVISOR_FAULTS, max_size=4)

    def strike(self, faults_: Sequence[recording.Fault | None]) -> None:
        self.rig.hypervisor.faults.clear()
        self.rig.hypervisor.fail_next(*faults_)

    def check(self) -> None:
        if self.rig.hypervisor.in_doubt:
            mapped = {page for piece in self.rig.mapped() for page in range(piece.start, piece.end, PAGE)}
            for given in self.rig.hypervisor.book.values():
                assert mapped.issuperset(pages(given)), "freed under the guest"
            self._settle()
        super().check()

    def _settle(self) -> None:
        """Have the mapper find out what the guest sees where the book says nothing: a mapping there settles it."""
        mapper, reached = self.subject.mapper, 0
        ends = [(live.window_offset, live.end) for _, live in sorted(self.subject.model.items())]
        for start, end in [*ends, (WINDOW_SIZE, WINDOW_SIZE)]:
            if reached < start:
                mapper.setup_mapping(self.files[0].fd, 0, reached, start - reached, writable=False)
                mapper.remove_range(reached, start - reached)
            reached = end
        self.rig.hypervisor.forget_doubts()


def walk_over(rig: Rig) -> None:
    """The body of a process of its own."""
    take_walks(WindowWalk, type(rig))


@pytest.mark.parametrize("_round", range(ROUNDS))
def test_windows_agree_with_the_model(window_backend: str, fault_library: Path, tmp_path: Path, _round: int) -> None:
    run_in_child(walk_over, window_backend, tmp_path, preload=fault_library)


@pytest.mark.parametrize("_round", range(ROUNDS))
@pytest.mark.parametrize("rig_type", [HypervisorRig, ProtectingHypervisorRig])
def test_hypervisors_agree_with_the_model(rig_type: type[Rig], _round: int) -> None:
    take_walks(HypervisorWalk, rig_type)
