"""What `daxmap layout` prints: a table, a drawing, memory slots; or the same as JSON."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from daxmap.layout import Share, WindowLayout
from daxmap.sizes import format_size, rough_size
from daxmap.textwidth import align, columns, neutral, output_encoding

__all__ = ["Report"]


@dataclass(frozen=True, slots=True)
class Report:
    """A layout, and what it was made for.

    Attributes:
        layout: Where the windows are.
        ram_base: Guest physical address of RAM.
        ram_size: Bytes of RAM.
        phys_bits: Physical address bits of the guest; None if not known.
        first_slot: KVM memory slot of the first window; the others follow.
    """

    layout: WindowLayout
    ram_base: int
    ram_size: int
    phys_bits: int | None
    first_slot: int

    def as_json(self) -> str:
        """One object; addresses and sizes are numbers, of bytes."""
        shares = [
            {
                "tag": share.tag,
                "base": share.base,
                "end": share.end,
                "size": share.size,
                "readonly": share.readonly,
                "slot": slot,
            }
            for slot, share in self._slots()
        ]
        report = {
            "ram": {"base": self.ram_base, "end": self.ram_base + self.ram_size, "size": self.ram_size},
            "phys_bits": self.phys_bits,
            "base": self.layout.base,
            "end": self.layout.end,
            "size": self.layout.size,
            "guest_ram_cost": self.layout.guest_ram_cost,
            "shares": shares,
        }
        return json.dumps(report, indent=2) + "\n"

    def as_text(self) -> str:
        """The table, the drawing and the slots."""
        size, cost = format_size(self.layout.size), format_size(self.layout.guest_ram_cost)
        paragraphs = [
            "\n".join(line.rstrip() for line in align(self._table())),
            f"The windows take {size}, and cost the guest {cost} of its RAM.",
            "\n".join(["Guest physical addresses:", "", *self._drawing()]),
            "\n".join(["KVM_SET_USER_MEMORY_REGION, with userspace_addr=mapper.host_address:", "", *self._regions()]),
        ]
        return "\n\n".join(paragraphs) + "\n"

    def _slots(self) -> Iterator[tuple[int, Share]]:
        return zip(count(self.first_slot), self.layout, strict=False)

    def _table(self) -> Iterator[tuple[str, ...]]:
        yield "share", "base", "end", "size", "access"
        for share in self.layout:
            yield _shown(share.tag), f"{share.base:#x}", f"{share.end:#x}", format_size(share.size), _access(share)

    def _regions(self) -> list[str]:
        fields = (
            (_shown(share.tag), f"slot={slot}", f"guest_phys_addr={share.base:#x}", f"memory_size={share.size:#x}")
            for slot, share in self._slots()
        )
        return align(fields)

    def _drawing(self) -> Iterator[str]:
        """A box for each area, lowest address first; dotted sides where nothing is."""
        areas = list(self._areas())
        boxes = align((area.name, area.size) for area in areas)
        addresses = [f"{address:#x}" for address in (areas[0].base, *(area.end for area in areas))]
        margin = max(map(len, addresses))
        edge = f"+{'-' * (columns(boxes[0]) + 2)}+"
        for address, area, box in zip(addresses, areas, boxes, strict=False):
            side = "|" if area.used else ":"
            yield f"{address:>{margin}} {edge}"
            yield f"{'':>{margin}} {side} {box} {side}"
        yield f"{addresses[-1]:>{margin}} {edge}"

    def _areas(self) -> Iterator["_Area"]:
        """What lies from the start of RAM to the last address, one after another."""
        ram_end = self.ram_base + self.ram_size
        if self.ram_size:
            yield _Area(self.ram_base, ram_end, "RAM")
        if ram_end < self.layout.base:
            yield _Area(ram_end, self.layout.base, "gap", used=False)
        for share in self.layout:
            yield _Area(share.base, share.end, f"{_shown(share.tag)}, {_access(share)}")
        if self.phys_bits is not None and self.layout.end < 2**self.phys_bits:
            yield _Area(self.layout.end, 2**self.phys_bits, f"free, to {self.phys_bits} bits", used=False)


@dataclass(frozen=True, slots=True)
class _Area:
    base: int
    end: int
    name: str
    used: bool = True

    @property
    def size(self) -> str:
        """Exact for what somebody chose, and short for what is left over."""
        size = self.end - self.base
        return format_size(size) if self.used else rough_size(size)


def _access(share: Share) -> str:
    return "read-only" if share.readonly else "writable"


def _shown(tag: str) -> str:
    return neutral(tag, output_encoding())
