"""A guest's RAM and the windows of its shares, as an SVG image."""

from typing import TYPE_CHECKING

from daxmap.picture import shapes, words
from daxmap.picture.shapes import MARGIN
from daxmap.sizes import rough_size
from daxmap.textwidth import neutral

if TYPE_CHECKING:
    from daxmap.layout import WindowLayout

__all__ = ["drawing"]

# More windows than these are not drawn.
_DRAWN = 12
# Pixels: of the addresses, of the boxes, of the lowest box, and how much higher the box of the largest window is.
_ADDRESSES, _BOX, _LEAST, _MORE = 150, 560, 30, 60
# Columns of a tag.
_TAG = 40


def drawing(layout: "WindowLayout") -> str:
    """Draws RAM and windows one below the other, by rising address. A large window's box is higher than a small one's.

    All that a layout knows of RAM is that it ends at its base, or less than 2 MiB below.
    """
    shares = list(layout.shares.values())
    largest = max(share.size for share in shares)
    boxes: list[tuple[str, float, int | None, str]] = [("hole", _LEAST, None, "guest RAM, up to here")]
    for share in shares[:_DRAWN]:
        height = _LEAST + _MORE * share.size / largest
        tag = words.shorten(neutral(share.tag), _TAG, "…")
        label = f"{tag}: {rough_size(share.size)}, {'read-only' if share.readonly else 'writable'}"
        boxes.append((f"{'ro' if share.readonly else 'rw'}-absent hole", height, share.base, label))
    if len(shares) > _DRAWN:
        more = words.count(len(shares) - _DRAWN, "more window")
        boxes.append(("hole", _LEAST, shares[_DRAWN].base, f"and {more}"))

    y = float(MARGIN)
    left = MARGIN + _ADDRESSES
    elements = []
    for kind, height, address, label in boxes:
        if address is not None:
            elements.append(shapes.text(MARGIN, y + 5, f"{address:#x}", kind="mono ink"))
        elements.append(shapes.rect(left, y, _BOX, height, kind))
        elements.append(shapes.text(left + MARGIN, y + height / 2 + 4, label))
        y += height
    elements.append(shapes.text(MARGIN, y + 5, f"{layout.end:#x}", kind="mono ink"))
    return shapes.image("Guest RAM and DAX windows", repr(layout), left + _BOX + MARGIN, y + MARGIN, elements)
