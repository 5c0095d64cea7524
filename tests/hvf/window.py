"""A mapper whose hypervisor is the stand-in, and the check that all books of it agree."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from daxmap import DaxMapper, HvfBackend, MappingInfo
from hvf.rig import given
from hvf.standin import Code, Operation, Range, Standin
from support.files import HostFile
from support.host import PAGE, Piece, vmas
from support.rig import check_balance

BASE = 1 << 32
SIZE = 64 * PAGE


def shows(area: Piece, range_: Range, info: MappingInfo) -> bool:
    """Whether an area of the process holds the range, and shows what the mapping says."""
    holds = area.start <= range_.host and range_.host + range_.size <= area.end
    return holds and (area.shown.inode, area.shown.origin) == (info.ino, range_.host - info.file_offset)


class Window:
    """One mapper, its files, and the guest's view of it. A context manager, which drains and closes the files."""

    def __init__(self, standin: Standin, directory: Path, *, base: int = BASE, readonly: bool = False) -> None:
        self.standin = standin
        self.base = base
        self.mapper = DaxMapper(base, SIZE, HvfBackend(framework=standin.path), readonly=readonly)
        self._directory = directory
        self._files: list[HostFile] = []
        self._undo = ExitStack()

    def file(self, pages: int = 4, flags: int = os.O_RDWR) -> HostFile:
        """A new file, to be mapped with a descriptor that is opened with `flags`."""
        file = HostFile(self._directory / f"{self.base:x}-{len(self._files)}", pages)
        self._files.append(file)
        self._undo.callback(file.close)
        return self._undo.enter_context(file.opened(flags))

    def map(
        self, file: HostFile, offset: int, length: int = PAGE, *, file_offset: int = 0, writable: bool = False
    ) -> None:
        self.mapper.setup_mapping(file.fd, file_offset, offset, length, writable)

    def ranges(self) -> list[Range]:
        """What the guest has of the window."""
        return self.standin.ranges(self.base, self.base + SIZE)

    def areas(self) -> list[Piece]:
        """Where this process maps one of the files, for whatever purpose."""
        inodes = {file.inode for file in self._files}
        return [vma for vma in vmas() if vma.shown.inode in inodes]

    def access(self, offset: int) -> str:
        """How the host maps what the guest has at an offset of the window, as /proc/self/maps says it."""
        [range_] = [entry for entry in self.ranges() if entry.ipa == self.base + offset]
        [area] = [area for area in self.areas() if area.start <= range_.host < area.end]
        return area.shown.access

    def agree(self) -> None:
        """Check that mapper, stand-in and host agree on what is mapped, and that nothing else is."""
        ranges, areas = self.ranges(), self.areas()
        if not self.mapper.closed:
            self._check_live(ranges, areas)
        assert sum(area.end - area.start for area in areas) == sum(entry.size for entry in ranges), "host memory leaks"
        stats = self.mapper.stats()
        assert stats.live_mappings + stats.leaked_count == len(ranges)
        check_balance(stats)
        self._check_order()

    def _check_live(self, ranges: list[Range], areas: list[Piece]) -> None:
        live = list(self.mapper)
        assert [(entry.ipa, entry.size, entry.flags) for entry in ranges] == given(self.base, live)
        content = {file.inode: file.path.read_bytes() for file in self._files}
        for info, entry in zip(live, ranges, strict=True):
            [area] = [area for area in areas if shows(area, entry, info)]
            assert area.shown.access in ({"rw-s"} if info.writable else {"rw-s", "rw-p"})
            shown = content[info.ino][info.file_offset : info.file_offset + info.length]
            assert self.standin.load(entry.ipa, len(shown)) == shown
            assert self.mapper.read(entry.ipa, len(shown)) == shown

    def _check_order(self) -> None:
        """Whatever was asked of the guest's view of host memory, the memory was still there."""
        for call in self.standin.calls():
            if call.operation in {Operation.MAP, Operation.UNMAP, Operation.PROTECT} and call.code != Code.NO_DEVICE:
                assert call.backed, call

    def close(self) -> None:
        self.mapper.close()
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
