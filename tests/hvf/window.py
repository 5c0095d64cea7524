"""A mapper whose hypervisor is the stand-in, and the check that all books of it agree."""

import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from daxmap import DaxMapper, HvfBackend, MappingInfo
from hvf.standin import EXEC, READ, WRITE, Code, Operation, Range, Standin

PAGE = mmap.PAGESIZE
BASE = 1 << 32
SIZE = 64 * PAGE


@dataclass(frozen=True)
class Area:
    """A memory area of this process that shows a file: a line of /proc/self/maps."""

    start: int
    end: int
    access: str
    file_offset: int
    inode: int

    def shows(self, range_: Range, info: MappingInfo) -> bool:
        """Whether it holds the range, and shows what the mapping says."""
        holds = self.start <= range_.host and range_.host + range_.size <= self.end
        shown = self.file_offset + range_.host - self.start
        return holds and (self.inode, shown) == (info.ino, info.file_offset)


def areas(inodes: set[int]) -> list[Area]:
    """The areas that show one of the files, by rising address."""
    found = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, access, offset, _device, inode = line.split()[:5]
        if int(inode) in inodes:
            start, end = (int(address, 16) for address in span.split("-"))
            found.append(Area(start, end, access, int(offset, 16), int(inode)))
    return found


class HostFile:
    """A file of random bytes, none of them 0, and a descriptor of it."""

    def __init__(self, path: Path, pages: int, flags: int) -> None:
        self.path = path
        self.content = os.urandom(pages * PAGE).replace(b"\0", b"\1")
        path.write_bytes(self.content)
        self.fd = os.open(path, flags)
        self.inode = os.fstat(self.fd).st_ino


class Window:
    """One mapper, its files, and the guest's view of it. A context manager, which drains and closes the files."""

    def __init__(self, standin: Standin, directory: Path, *, base: int = BASE, readonly: bool = False) -> None:
        self.standin = standin
        self.base = base
        self.mapper = DaxMapper(base, SIZE, HvfBackend(framework=standin.path), readonly=readonly)
        self._directory = directory
        self._files: list[HostFile] = []

    def file(self, pages: int = 4, flags: int = os.O_RDWR) -> HostFile:
        """A new file, open for reading and writing unless `flags` say otherwise."""
        file = HostFile(self._directory / f"{self.base:x}-{len(self._files)}", pages, flags | os.O_CLOEXEC)
        self._files.append(file)
        return file

    def map(
        self, file: HostFile, offset: int, length: int = PAGE, *, file_offset: int = 0, writable: bool = False
    ) -> None:
        self.mapper.setup_mapping(file.fd, file_offset, offset, length, writable)

    def ranges(self) -> list[Range]:
        """What the guest has of the window."""
        return [entry for entry in self.standin.ranges() if self.base <= entry.ipa < self.base + SIZE]

    def areas(self) -> list[Area]:
        """Where this process maps one of the files, for whatever purpose."""
        return areas({file.inode for file in self._files})

    def access(self, offset: int) -> str:
        """How the host maps what the guest has at an offset of the window, as /proc/self/maps says it."""
        [range_] = [entry for entry in self.ranges() if entry.ipa == self.base + offset]
        [area] = [area for area in self.areas() if area.start <= range_.host < area.end]
        return area.access

    def agree(self) -> None:
        """Check that mapper, stand-in and host agree on what is mapped, and that nothing else is."""
        ranges, areas = self.ranges(), self.areas()
        if not self.mapper.closed:
            self._check_live(ranges, areas)
        assert sum(area.end - area.start for area in areas) == sum(entry.size for entry in ranges), "host memory leaks"
        stats = self.mapper.stats()
        assert stats.live_mappings + stats.leaked_count == len(ranges)
        departed = stats.remove_count + stats.swept_count + stats.leaked_count + stats.lost_count
        assert stats.setup_count == departed + stats.live_mappings
        self._check_order()

    def _check_live(self, ranges: list[Range], areas: list[Area]) -> None:
        live = list(self.mapper)
        expected = [
            (self.base + info.window_offset, info.length, READ | EXEC | (WRITE if info.writable else 0))
            for info in live
        ]
        assert [(entry.ipa, entry.size, entry.flags) for entry in ranges] == expected
        content = {file.inode: file.path.read_bytes() for file in self._files}
        for info, entry in zip(live, ranges, strict=True):
            [area] = [area for area in areas if area.shows(entry, info)]
            assert area.access in ({"rw-s"} if info.writable else {"rw-s", "rw-p"})
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
        for file in self._files:
            os.close(file.fd)
        self._files.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
