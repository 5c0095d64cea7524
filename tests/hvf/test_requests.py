"""FUSE requests of a guest over the stand-in, in the host's pages."""

from errno import EINVAL, EIO

from daxmap import DaxDispatcher
from daxmap.fuse import FUSE_MAP_ALIGNMENT, InitOut, reply
from hvf.standin import Code
from hvf.window import BASE, Window
from support.guest_requests import READ_WRITE, UNIQUE, init_request, map_request, told, unmap_request
from support.host import PAGE

OWN_REPLY = InitOut(7, 38, 0, 0, 0, 0, 0, 0, 0, 0, 0)
HEADER_OUT = 16


def test_guest_is_told_the_page_size_of_the_host_and_held_to_it(window: Window) -> None:
    fd = window.file().fd
    dispatcher = DaxDispatcher(window.mapper, lambda _nodeid, _fh, _writable: fd)
    negotiated = dispatcher.negotiate(init_request(), reply(UNIQUE, OWN_REPLY.build()))
    init = InitOut.parse(negotiated[HEADER_OUT:])
    assert init.flags & FUSE_MAP_ALIGNMENT
    assert 1 << init.map_alignment == PAGE
    assert told(dispatcher.handle(map_request(1, PAGE // 4, length=PAGE))) == EINVAL
    assert told(dispatcher.handle(map_request(1, PAGE, length=PAGE))) == 0
    window.agree()


def test_guest_upgrades_and_removes_and_is_told_of_a_refusal(window: Window) -> None:
    file = window.file()
    dispatcher = DaxDispatcher(window.mapper, lambda _nodeid, _fh, _writable: file.fd)
    assert told(dispatcher.handle(map_request(1, 0, length=PAGE))) == 0
    assert told(dispatcher.handle(map_request(1, 0, length=PAGE, flags=READ_WRITE))) == 0
    assert window.standin.store(BASE, b"guest")
    assert file.path.read_bytes()[:5] == b"guest"
    window.standin.fail(1, Code.BUSY)
    assert told(dispatcher.handle(unmap_request((0, PAGE)))) == EIO
    window.agree()
    assert told(dispatcher.handle(unmap_request((0, PAGE)))) == 0
    window.agree()
