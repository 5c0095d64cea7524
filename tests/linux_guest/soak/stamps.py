"""What files hold. Each word says where it belongs, so that a wrong one is seen, be it the guest's or the host's.

A word has the inode number of its file in the low 24 bits, then its number in the file in 24 bits, and in the rest a
version, which is anything. worker/stamp.c has the same.
"""

BLOCK = 4096
_WORDS = BLOCK // 8
_ONES = sum(1 << 64 * i for i in range(_WORDS))
_NUMBERS = sum(i << (64 * i + 24) for i in range(_WORDS))
_NO_VERSIONS = _ONES * ((1 << 48) - 1)


def stamped(inode: int, offset: int, length: int, version: int) -> bytes:
    """What belongs into a file from an offset on, which is that of a word."""
    blocks = []
    for at in range(offset, offset + length, BLOCK):
        first = inode & 0xFF_FFFF | at // 8 << 24 | version << 48
        blocks.append((first * _ONES + _NUMBERS).to_bytes(BLOCK, "little"))
    return b"".join(blocks)[:length]


def first_wrong(content: bytes, inode: int) -> int | None:
    """Where a file has what does not belong there, or None. Zeros may be anywhere: it may have been made longer."""
    for at in range(0, len(content), BLOCK):
        block = content[at : at + BLOCK]
        expected = stamped(inode, at, len(block), 0)
        if (_number(block) ^ _number(expected)) & _NO_VERSIONS:
            for i, (byte, right) in enumerate(zip(block, expected, strict=True)):
                if i % 8 < 6 and byte not in {0, right}:
                    return at + i
    return None


def _number(block: bytes) -> int:
    return int.from_bytes(block, "little")
