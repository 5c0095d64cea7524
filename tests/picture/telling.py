"""A mapper that tells what files its window shows."""

from daxmap import DaxMapper, MappingInfo
from support.files import HostFile


class Telling:
    """A real mapper, whose mappings all show one file, resident as far as it goes."""

    def __init__(self, mapper: DaxMapper, file: HostFile) -> None:
        self._mapper, self._file = mapper, file
        self.name, self.base, self.size = mapper.name, mapper.base, mapper.size
        self.readonly, self.page_size, self.closed = mapper.readonly, mapper.page_size, mapper.closed

    def _survey(self) -> list[tuple[MappingInfo, str | None, int | None, list[int]]]:
        size = self._file.path.stat().st_size
        return [
            (info, str(self._file.path), size, [min(info.length, size - info.file_offset)]) for info in self._mapper
        ]
