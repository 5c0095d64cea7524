"""The drawing of a window's life: setup, upgrade, replacement, reclaim, end."""

from daxmap.picture.shapes import image, rect, text
from sketch import centred

__all__ = ["drawing"]

_WIDTH = 640
# Pixels: where the strip begins, a range of 2 MiB, the height of a strip, and from one to the next.
_LEFT, _RANGE, _STRIP, _PITCH = 16, 152, 30, 74
_READ_ONLY, _WRITABLE = "ro-absent", "rw-absent"
# What is done, and what the window shows then: start and length in ranges, kind, file.
_MOMENTS: list[tuple[str, list[tuple[float, float, str, str]]]] = [
    ("The guest has mounted: holes.", []),
    ("It reads file A: SETUPMAPPING, read-only.", [(0, 1, _READ_ONLY, "A")]),
    ("It writes to A: SETUPMAPPING of the same range, WRITE. An upgrade in place.", [(0, 1, _WRITABLE, "A")]),
    ("It reads file B, over three ranges.", [(0, 1, _WRITABLE, "A"), (1, 3, _READ_ONLY, "B")]),
    (
        "SETUPMAPPING of file C over a part of B: what reaches out stays, in two pieces.",
        [(0, 1, _WRITABLE, "A"), (1, 0.5, _READ_ONLY, "B"), (1.5, 1, _READ_ONLY, "C"), (2.5, 1.5, _READ_ONLY, "B")],
    ),
    (
        "No range is free: the guest takes A's (REMOVEMAPPING), and shows D there.",
        [(0, 1, _READ_ONLY, "D"), (1, 0.5, _READ_ONLY, "B"), (1.5, 1, _READ_ONLY, "C"), (2.5, 1.5, _READ_ONLY, "B")],
    ),
    ("DESTROY or a new INIT: the guest unmounts or reboots, and all of it goes.", []),
]


def drawing() -> str:
    """One strip a moment, from the first to the last."""
    elements = []
    y = 8.0
    for told, shown in _MOMENTS:
        elements.append(text(_LEFT, y + 18, told, size=14))
        top = y + 26
        elements += [rect(_LEFT + number * _RANGE, top, _RANGE, _STRIP, "hole") for number in range(4)]
        for start, length, kind, file in shown:
            x, width = _LEFT + start * _RANGE, length * _RANGE
            elements.append(rect(x, top, width, _STRIP, f"{kind} hole"))
            elements.append(centred(x + width / 2, top + 20, file))
        y += _PITCH
    y += 14
    for x, kind, told in (
        (0, "hole", "hole"),
        (90, f"{_READ_ONLY} hole", "read-only"),
        (210, f"{_WRITABLE} hole", "writable"),
    ):
        elements += [rect(_LEFT + x, y - 11, 14, 14, kind), text(_LEFT + x + 20, y + 1, told, size=13, kind="dim")]
    elements.append(text(_LEFT + 330, y + 1, "one box: 2 MiB of the window", size=13, kind="dim"))
    return image("The life of a window", "What a window of 8 MiB shows, step by step.", _WIDTH, y + 16, elements)
