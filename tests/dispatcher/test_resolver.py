"""Resolvers that misbehave, behind DaxDispatcher."""

import errno
import inspect
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from daxmap import DaxDispatcher, DaxMapper
from daxmap.protocols import Resolver
from support.guest_requests import Opened, answer, map_request

NODE = 5


def raising(error: BaseException) -> Resolver:
    def resolve(*_: object) -> int:
        raise error

    return resolve


class Odd:
    """An object with the methods of another."""

    def __init__(self, **methods: Callable[[], object]) -> None:
        self.__dict__.update(methods)


def closed_fd() -> int:
    fd = os.dup(0)
    os.close(fd)
    return fd


RESOLVERS = [
    pytest.param(lambda: -1, errno.EBADF, id="-1"),
    pytest.param(closed_fd, errno.EBADF, id="closed fd"),
    pytest.param(lambda: None, errno.EIO, id="None"),
    pytest.param(lambda: True, errno.EIO, id="True"),
    pytest.param(lambda: "3", errno.EIO, id="text"),
    pytest.param(lambda: 2**40, errno.EIO, id="number over 32 bits"),
    pytest.param(lambda: 2**70, errno.EIO, id="number over 64 bits"),
    pytest.param(lambda: Odd(close=lambda: None), errno.EIO, id="no fileno"),
    pytest.param(lambda: Odd(fileno=lambda: 0), errno.EIO, id="no close"),
    pytest.param(lambda: Odd(close=lambda: None, fileno=lambda: "3"), errno.EIO, id="fileno of text"),
    pytest.param(lambda: Opened(closed_fd()), errno.EBADF, id="fileno of a closed file"),
]


@pytest.mark.parametrize(("what", "errno_"), RESOLVERS)
def test_resolver_that_gives_no_file(mapper: DaxMapper, what: Callable[[], int], errno_: int) -> None:
    dispatcher = DaxDispatcher(mapper, lambda *_: what())
    assert dispatcher.handle(map_request(NODE, 0)) == answer(errno_)
    assert len(mapper) == 0


def test_resolver_of_c_code_that_tells_no_signature_is_tried(mapper: DaxMapper) -> None:
    with pytest.raises(ValueError, match="no signature"):
        inspect.signature(max)
    dispatcher = DaxDispatcher(mapper, max)  # type: ignore[arg-type]
    assert dispatcher.handle(map_request(NODE, 0)) == answer(errno.EIO)


@pytest.mark.parametrize(
    ("error", "errno_"),
    [
        (ValueError("no such node"), errno.EIO),
        (KeyError(5), errno.EIO),
        (MemoryError(), errno.EIO),
        (RecursionError(), errno.EIO),
        (StopIteration(), errno.EIO),
        (FileNotFoundError(errno.ENOENT, "gone"), errno.ENOENT),
        (PermissionError(errno.EACCES, "no"), errno.EACCES),
        (OSError(errno.EMFILE, "too many"), errno.EMFILE),
        (OSError(), errno.EIO),
        (OSError("only text"), errno.EIO),
        (OSError("EACCES", "text for an errno"), errno.EIO),
        (OSError(0, "no error"), errno.EIO),
        (OSError(512, "ERESTARTSYS is not for guests"), errno.EIO),
        (OSError(-22, "negative"), errno.EIO),
    ],
    ids=repr,
)
def test_resolver_that_raises(mapper: DaxMapper, error: Exception, errno_: int) -> None:
    dispatcher = DaxDispatcher(mapper, raising(error))
    assert dispatcher.handle(map_request(NODE, 0)) == answer(errno_)
    assert len(mapper) == 0


def test_resolver_that_gives_something_else_than_a_file(mapper: DaxMapper, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    directory = os.open(tmp_path, os.O_RDONLY)
    fds = [directory, os.open(fifo, os.O_RDONLY | os.O_NONBLOCK), os.open("/dev/null", os.O_RDWR), *os.pipe()]
    try:
        for fd in fds:
            assert DaxDispatcher(mapper, lambda *_, fd=fd: fd).handle(map_request(NODE, 0)) == answer(errno.ENODEV)
    finally:
        for fd in fds:
            os.close(fd)
    assert len(mapper) == 0


def test_exception_of_a_resolver_is_logged_with_its_traceback_a_few_times(
    mapper: DaxMapper, caplog: pytest.LogCaptureFixture
) -> None:
    dispatcher = DaxDispatcher(mapper, raising(ValueError("no such node")))
    for _ in range(1000):
        dispatcher.handle(map_request(NODE, 0))
    assert 0 < len(caplog.records) < 20
    assert caplog.records[0].levelno == logging.ERROR
    assert "in resolve" in caplog.text
    assert "ValueError: no such node" in caplog.text


def test_refusal_of_a_resolver_is_a_warning_without_a_traceback(
    mapper: DaxMapper, caplog: pytest.LogCaptureFixture
) -> None:
    DaxDispatcher(mapper, raising(FileNotFoundError(errno.ENOENT, "gone"))).handle(map_request(NODE, 0))
    (record,) = caplog.records
    assert (record.levelno, record.exc_info) == (logging.WARNING, None)
    assert "gone" in record.getMessage()
