"""A guest behind a hypervisor that is a Python object."""

from pathlib import Path

from daxmap import Access, DaxMapper, HypervisorBackend
from support.host import PAGE, Shown, peek, poke
from support.recording import Given, ProtectingHypervisor, RecordingHypervisor
from support.rig import WORD, Rig, Subject

READ_EXECUTE = Access.READ | Access.EXEC


class HypervisorRig(Rig):
    """A hypervisor without `protect`: the kernel's copies stand for its guest, where it gave that access."""

    hypervisor_type: type[RecordingHypervisor] = RecordingHypervisor

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.hypervisor = self.hypervisor_type()

    def attach(self, base: int, size: int, *, readonly: bool, max_mappings: int | None) -> Subject:
        backend = HypervisorBackend(self.hypervisor)
        mapper = DaxMapper(base, size, backend, readonly=readonly, max_mappings=max_mappings)
        return Subject(self, mapper, lambda: None)

    def check_host(self, subject: Subject) -> None:
        """The process maps what the guest was given, and nothing else of the files."""
        base, size = subject.mapper.base, subject.mapper.size
        book = self.hypervisor.book
        assert self.hypervisor.misuses == []
        found = {address: piece.shown for piece in self.mapped() for address in range(piece.start, piece.end, PAGE)}
        assert found.keys() == {address for given in book.values() for address in pages(given)}
        window = {address - base: given for address, given in book.items() if base <= address < base + size}
        assert window.keys() == subject.model.keys()
        for offset, mapped in subject.model.items():
            given = window[offset]
            assert given.length == mapped.length
            assert given.access == READ_EXECUTE | (Access.WRITE if mapped.writable else 0)
            origin = given.host_address - mapped.file_offset
            shared, private = (Shown(access, mapped.file.inode, origin) for access in ("rw-s", "rw-p"))
            # Shared memory may be what a guest only reads, for a later upgrade; private, what it stores to, never.
            expected = [shared] if mapped.writable else [private] if subject.mapper.readonly else [shared, private]
            [shown] = {found[address] for address in pages(given)}
            assert shown in expected

    def peek(self, mapper: DaxMapper, offset: int, length: int) -> bytes | None:
        found = self.given(mapper, offset, length)
        return None if found is None else peek(found[1], length)

    def load(self, mapper: DaxMapper, offset: int) -> int | None:
        data = self.peek(mapper, offset, WORD)
        return None if data is None else int.from_bytes(data, "little")

    def store(self, mapper: DaxMapper, offset: int, value: int) -> bool:
        found = self.given(mapper, offset, WORD)
        if found is None or not found[0].access & Access.WRITE:
            return False
        return poke(found[1], value.to_bytes(WORD, "little"))

    def given(self, mapper: DaxMapper, offset: int, length: int) -> tuple[Given, int] | None:
        """The memory that the guest has at a window offset, and its address there."""
        wanted = mapper.base + offset
        for address, given in self.hypervisor.book.items():
            if address <= wanted and wanted + length <= address + given.length:
                return given, given.host_address + wanted - address
        return None


class ProtectingHypervisorRig(HypervisorRig):
    """A hypervisor with `protect`."""

    hypervisor_type = ProtectingHypervisor


def pages(given: Given) -> range:
    """The host address of each page."""
    return range(given.host_address, given.host_address + given.length, PAGE)
