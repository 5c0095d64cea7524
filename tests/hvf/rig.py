"""The stand-in as a guest under test: the contract of every backend holds for the one over Hypervisor.framework too."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from daxmap import DaxMapper, HvfBackend, MappingInfo
from hvf.standin import EXEC, READ, WRITE, Code, stand_in
from support.host import PAGE
from support.rig import WORD, Mapped, Rig, Subject


class HvfRig(Rig):
    """The one VM of the process, as the stand-in keeps it."""

    many_calls: ClassVar[int] = 2_500  # the stand-in reads /proc/self/maps in each, and its log is limited

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.standin = stand_in()
        self.standin.reset(PAGE)
        assert self.standin.create() == Code.SUCCESS

    def attach(self, base: int, size: int, *, readonly: bool, max_mappings: int | None) -> Subject:
        backend = HvfBackend(framework=self.standin.path)
        mapper = DaxMapper(base, size, backend, readonly=readonly, max_mappings=max_mappings)
        return Subject(self, mapper, lambda: None)

    def check_host(self, subject: Subject) -> None:
        base, size = subject.mapper.base, subject.mapper.size
        ranges = self.standin.ranges(base, base + size)
        live = [mapped for _, mapped in sorted(subject.model.items())]
        assert [(entry.ipa, entry.size, entry.flags) for entry in ranges] == given(base, live)
        mapped_bytes = sum(vma.end - vma.start for vma in self.mapped())
        assert mapped_bytes == sum(entry.size for entry in self.standin.ranges())

    def peek(self, mapper: DaxMapper, offset: int, length: int) -> bytes | None:
        return self.standin.load(mapper.base + offset, length)

    def load(self, mapper: DaxMapper, offset: int) -> int | None:
        data = self.peek(mapper, offset, WORD)
        return None if data is None else int.from_bytes(data, "little")

    def store(self, mapper: DaxMapper, offset: int, value: int) -> bool:
        return self.standin.store(mapper.base + offset, value.to_bytes(WORD, "little"))


def given(base: int, live: Sequence[Mapped] | Sequence[MappingInfo]) -> list[tuple[int, int, int]]:
    """Guest address, length and access that the guest has of each live mapping."""
    return [
        (base + mapped.window_offset, mapped.length, READ | EXEC | (WRITE if mapped.writable else 0)) for mapped in live
    ]
