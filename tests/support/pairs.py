"""A program of setups and removals, for instruments that watch a process: `python -m support.pairs FILE COUNT`."""

import os
import sys

from daxmap import DaxMapper, HostWindowBackend

SLOT = 2 << 20
LIVE = 100


def main(path: str, count: int) -> None:
    """Makes so many pairs in a gap past other live mappings."""
    fd = os.open(path, os.O_RDONLY)
    backend = HostWindowBackend()
    with DaxMapper(0, 1 << 30, backend) as mapper:
        for slot in range(LIVE):
            mapper.setup_mapping(fd, 0, 2 * slot * SLOT, SLOT, writable=False)
        setup, remove, offset = mapper.setup_mapping, mapper.remove_mapping, (2 * LIVE + 1) * SLOT
        for _ in range(count):
            setup(fd, 0, offset, SLOT, False)  # noqa: FBT003
            remove(offset, SLOT)
    backend.release()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
