"""reopen: the file of an inode that is held by an O_PATH descriptor, and never another."""

import errno
import io
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from daxmap import DaxDispatcher, DaxMapper, HostWindowBackend, reopen
from support.guest_requests import answer, map_request

OPENINGS = 10_000


@contextmanager
def path_fd(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW)
    try:
        yield fd
    finally:
        os.close(fd)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    return path


@pytest.mark.parametrize("writable", [False, True])
def test_file_is_opened_for_the_access_asked_for(path: Path, *, writable: bool) -> None:
    with path_fd(path) as fd, reopen(fd, writable) as file:
        assert file.read() == b"content"
        assert file.writable() == writable
        assert not os.get_inheritable(file.fileno())
        if writable:
            file.write(b"!")
    assert path.read_bytes() == b"content" + b"!" * writable


def test_descriptor_may_be_an_object(path: Path) -> None:
    with path.open("rb") as held, reopen(held, writable=False) as file:
        assert file.read() == b"content"


def test_inode_is_opened_whatever_became_of_its_path(path: Path, tmp_path: Path) -> None:
    with path_fd(path) as fd:
        path.rename(tmp_path / "elsewhere")
        path.write_bytes(b"another")
        with reopen(fd, writable=False) as file:
            assert file.read() == b"content"
        (tmp_path / "elsewhere").unlink()
        with reopen(fd, writable=False) as file:
            assert file.read() == b"content"


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


OTHERS = [
    pytest.param(Path.mkdir, id="directory"),
    pytest.param(os.mkfifo, id="FIFO"),
    pytest.param(make_socket, id="socket"),
    pytest.param(lambda path: path.symlink_to("file"), id="symbolic link"),
    pytest.param(lambda path: path.symlink_to("/dev/null"), id="symbolic link to a device"),
]


@pytest.mark.parametrize("make", OTHERS)
@pytest.mark.parametrize("writable", [False, True])
def test_what_is_no_regular_file_is_not_opened(path: Path, make: Callable[[Path], object], *, writable: bool) -> None:
    other = path.with_name("other")
    make(other)
    with path_fd(other) as fd, pytest.raises(OSError, match="not a regular file") as caught:
        reopen(fd, writable)
    assert caught.value.errno == errno.ENODEV


def test_device_is_not_opened() -> None:
    with path_fd(Path("/dev/null")) as fd, pytest.raises(OSError, match="not a regular file"):
        reopen(fd, writable=False)


def test_closed_descriptor_is_ebadf(path: Path) -> None:
    with path_fd(path) as fd:
        pass
    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        reopen(fd, writable=False)
    assert caught.value.errno == errno.EBADF


def test_what_open_says_passes_through(tmp_path: Path) -> None:
    program = shutil.copy("/bin/sleep", tmp_path)
    with subprocess.Popen([program, "60"]) as running, path_fd(Path(program)) as fd:
        with pytest.raises(OSError, match="Text file busy") as caught:
            reopen(fd, writable=True)
        running.kill()
    assert caught.value.errno == errno.ETXTBSY


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@contextmanager
def attacker(attack: Callable[[], None]) -> Iterator[None]:
    """A thread that attacks again and again."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            while not stop.is_set():
                attack()
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert failures == []


def test_attacked_by_path(tmp_path: Path) -> None:
    """A guest's other half renames files, symbolic links and FIFOs over the path that the VMM looks up."""
    target, secret = tmp_path / "target", tmp_path / "secret"
    secret.write_bytes(b"secret")
    target.write_bytes(b"ours")

    makes: list[Callable[[Path], object]] = [
        lambda path: path.write_bytes(b"ours"),
        lambda path: path.symlink_to(secret),
        os.mkfifo,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.write_bytes(b"also ours"),
    ]

    def swap() -> None:
        for make in makes:
            fresh = tmp_path / "fresh"
            make(fresh)
            fresh.rename(target)

    before = open_descriptors()
    opened = refused = 0
    with attacker(swap):
        turns = count()
        while (turn := next(turns)) < OPENINGS or not (opened and refused):
            with path_fd(target) as fd:
                held = os.fstat(fd)
                try:
                    file = reopen(fd, writable=turn % 2 == 0)
                except OSError as error:
                    assert error.errno == errno.ENODEV  # noqa: PT017
                    refused += 1
                    continue
                with file:
                    assert os.path.samestat(os.fstat(file.fileno()), held)
                    assert file.read() in {b"ours", b"also ours", b""}
                opened += 1
    assert open_descriptors() == before


def test_attacked_by_number(tmp_path: Path) -> None:
    """Another thread of the VMM closes the descriptor and opens others under its number."""
    regular, fifo = tmp_path / "regular", tmp_path / "fifo"
    regular.write_bytes(b"ours")
    os.mkfifo(fifo)
    with path_fd(regular) as fd, path_fd(fifo) as other, path_fd(regular) as attacked, path_fd(tmp_path) as directory:

        def swap() -> None:
            for source in (fd, other, fd, directory):
                os.dup2(source, attacked)

        before = open_descriptors()
        outcomes: set[int | None] = set()
        with attacker(swap):
            turns = count()
            while (turn := next(turns)) < OPENINGS or not {0, errno.ENODEV} <= outcomes:
                try:
                    with reopen(attacked, writable=turn % 2 == 0) as file:
                        assert file.read() == b"ours"
                        outcomes.add(0)
                except OSError as error:
                    outcomes.add(error.errno)
        assert outcomes <= {0, errno.ENODEV, errno.ESTALE, errno.EISDIR, errno.ENXIO}
        assert open_descriptors() == before


def test_resolver_may_return_it(path: Path) -> None:
    backend = HostWindowBackend()
    given: list[io.FileIO] = []
    with path_fd(path) as fd, DaxMapper(0, 8 << 20, backend) as mapper:

        def resolve(_nodeid: int, _fh: int | None, writable: bool) -> io.FileIO:  # noqa: FBT001
            given.append(reopen(fd, writable))
            return given[-1]

        assert DaxDispatcher(mapper, resolve).handle(map_request(1, 0)) == answer(0)
        assert given[0].closed
        assert mapper.read(0, 7) == b"content"
    backend.release()
