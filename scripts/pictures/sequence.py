"""The drawing of how a range of the window comes to show a file: who asks whom."""

from daxmap.picture.shapes import image, rect
from sketch import arrow, box, centred

__all__ = ["drawing"]

_WIDTH = 640
# Where those who take part stand, in pixels from the left.
_PROGRAM, _GUEST, _VMM, _HOST = 76, 236, 400, 564
_STEPS = [
    (_PROGRAM, _GUEST, "1  first load: page fault"),
    (_GUEST, _VMM, "2  FUSE_SETUPMAPPING"),
    (_VMM, _HOST, "3  mmap(MAP_FIXED)"),
    (_VMM, _GUEST, "4  reply: done"),
    (_GUEST, _PROGRAM, "5  page table entry"),
]
_HEAD, _STEP = 46, 46


def drawing() -> str:
    """Five steps for the first load of a range, and one for all that follow."""
    bottom = 16 + _HEAD + _STEP * (len(_STEPS) + 2)
    elements = [rect(x - 0.5, 16 + _HEAD, 1, bottom - 16 - _HEAD, "dim") for x in (_PROGRAM, _GUEST, _VMM, _HOST)]
    heads = (("program", "in the guest"), ("kernel", "of the guest"), ("VMM with", "daxmap"), ("kernel of the", "host"))
    for x, lines in zip((_PROGRAM, _GUEST, _VMM, _HOST), heads, strict=True):
        elements.append(box(x - 64, 16, 128, _HEAD, lines))
    y = 16.0 + _HEAD
    for start, end, label in _STEPS:
        y += _STEP
        elements.append(arrow(start, y, end, y))
        elements.append(_label((start + end) / 2, y - 10, label))
    y += _STEP + 10
    elements.append(arrow(_PROGRAM, y, _HOST, y, both=True, kind="rw-resident"))
    elements.append(
        _label((_PROGRAM + _HOST) / 2, y - 10, "6  every load and store from now on: the page cache, nobody is asked")
    )
    return image("How a range is mapped", "Steps of FUSE_SETUPMAPPING.", _WIDTH, bottom + 16, elements)


def _label(x: float, baseline: float, line: str) -> str:
    """Text on a ground of its own, where lines cross it."""
    width = len(line) * 6.6
    return rect(x - width / 2, baseline - 12, width, 16, "ground") + centred(x, baseline, line, size=13)
