"""A forked child has the server's memory, and neither its threads nor its descriptors: it asks nothing of it."""

import struct
from pathlib import Path

from support.forks import in_fork
from support.fuse_client import ROOT, Client, Op, errno_of
from support.walk_tree import tree


def test_child_is_refused_and_the_parent_goes_on(guest: Client, share: Path) -> None:
    node = guest.walk(b"file")
    fh = guest.open(node)
    before = tree(share)

    def body() -> None:
        for call, *arguments in [
            (guest.lookup, b"dir"),
            (guest.create, b"new"),
            (guest.mkdir, b"new"),
            (guest.read, node, fh, 10),
            (guest.init,),
            (guest.ask, Op.DESTROY),
            (guest.ask, 12345, ROOT),
        ]:
            assert errno_of(call, *arguments) == "EPERM"
        for opcode in (Op.FORGET, Op.BATCH_FORGET, Op.INTERRUPT, Op.NOTIFY_REPLY):
            guest.tell(opcode, node, struct.pack("<QQQ", 1, node, 1))
        # Refused before a lock is taken, which another thread of the parent may have held: that of the log's, too.
        for wrong in range(20):
            request = struct.pack("<I", wrong) + guest.request(Op.LOOKUP, ROOT, b"dir\0")[4:]
            reply = guest.send(request)
            assert reply is not None
            assert reply[4:8] == struct.pack("<i", -1)

    in_fork(body)
    assert tree(share) == before
    assert guest.read(node, fh, 5) == b"hello"
    guest.create(b"new")
