"""The drawing of what DAX is: a range of the window and the host's page cache are the same memory."""

from daxmap.picture.shapes import image, rect, text
from sketch import arrow, box, centred

__all__ = ["drawing"]

_WIDTH, _HEIGHT = 640, 372


def drawing() -> str:
    """The guest on the left, the host on the right, and between them the memory that both have."""
    guest = [
        rect(12, 12, 268, 348, "hole"),
        text(24, 36, "guest", size=16),
        box(28, 50, 236, 50, ("a program that mmaps", "or reads /mnt/file")),
        arrow(222, 101, 222, 229, both=True),
        text(34, 125, "load and store,", size=13),
        text(34, 142, "no exit, no copy", size=13),
        box(28, 156, 180, 44, ("guest RAM:", "nothing of the file"), kind="ro-absent hole"),
        rect(28, 230, 236, 112, "hole"),
        text(38, 250, "DAX window", size=14),
        text(38, 334, "holes, 2 MiB each", size=12, kind="dim"),
        box(28, 260, 236, 56, ("range of the window",), kind="rw-absent hole"),
    ]
    between = [
        arrow(265, 75, 375, 75),
        centred(320, 64, "asks once", size=13),
        arrow(266, 288, 374, 288, both=True),
        centred(320, 272, "the same", size=13),
        centred(320, 310, "memory", size=13),
    ]
    host = [
        rect(360, 12, 268, 348, "hole"),
        text(372, 36, "host", size=16),
        box(376, 50, 236, 50, ("VMM with daxmap",)),
        arrow(494, 101, 494, 259),
        text(506, 176, "one mmap", size=13),
        box(376, 260, 236, 56, ("page cache: pages of the file",), kind="rw-absent hole"),
        centred(494, 340, "its kernel reads and writes the disk", size=12, kind="dim"),
    ]
    return image(
        "DAX", "A range of the guest's window is the host's page cache.", _WIDTH, _HEIGHT, guest + host + between
    )
