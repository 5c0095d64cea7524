"""A virtiofs share with DAX, without the virtqueue: requests in, replies out.

    python examples/virtiofs_dispatcher.py

replays a guest's session (guest_session.py) against a `FileServer` and tells what happens. A device of yours gives it
what its virtqueue has: `server.answer_into(readable_buffers, writable_buffers)`, and takes its window from
`KvmBackend(vm_fd, slot)`.
"""

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from daxmap import DaxMapper, FileServer, HostWindowBackend, WindowLayout
from daxmap.fuse import FUSE_DESTROY, FUSE_INIT, InHeader, OutHeader
from guest_session import SIZES, WINDOW, Load, Request, Step, Store, guest_session


def replay(steps: Iterable[Step], server: FileServer, mapper: DaxMapper) -> Iterator[str]:
    """Does what the guest does, and tells it line by line.

    Raises:
        RuntimeError: A reply, or what the window shows, is not what the guest expects.
    """
    for step in steps:
        match step:
            case Request(text, message, expected):
                reply = server.answer(message)
                error = -OutHeader.parse(reply).error if reply else None
                ok = error == expected
                yield f"{text}: {'no reply' if error is None else os.strerror(error) if error else 'done'}"
                if InHeader.parse(message).opcode in {FUSE_INIT, FUSE_DESTROY}:
                    yield f"    {server.status()}"
            case Load(offset, length, name, file_offset):
                seen = mapper.read(mapper.base + offset, length)
                ok = seen == _host_bytes(server.directory / name, file_offset, length)
                yield f"    the guest loads {length} bytes of {name} from the window"
            case Store(offset, data, name, file_offset):
                mapper.write(mapper.base + offset, data)
                ok = _host_bytes(server.directory / name, file_offset, len(data)) == data
                yield f"    the guest stores {len(data)} bytes of {name} in the window"
        if not ok:
            raise RuntimeError(f"not what the guest expects: {step}")


def _host_bytes(path: Path, offset: int, length: int) -> bytes:
    with path.open("rb") as file:
        return os.pread(file.fileno(), length, offset)


def main() -> int:
    """Replays the session against a temporary directory."""
    backend = HostWindowBackend()
    share = WindowLayout(0, 4 << 30, [("root", WINDOW)])["root"]
    with tempfile.TemporaryDirectory() as directory:
        for file, size in SIZES.items():
            (Path(directory) / file).write_bytes(os.urandom(size))
        with DaxMapper.for_share(share, backend) as mapper:
            server = FileServer(directory, mapper=mapper, dax="inode", min_size=4096)
            for line in replay(guest_session(), server, mapper):
                print(line)
            print(mapper.stats())
    backend.release()
    return 0


if __name__ == "__main__":
    sys.exit(main())
