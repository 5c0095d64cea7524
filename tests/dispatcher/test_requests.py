"""What a well-meaning guest and its VMM get from DaxDispatcher."""

import errno
import gc
import io
import os
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from daxmap import FUSE_NO_FH, DaxDispatcher, DaxMapper
from daxmap.fuse import FUSE_DESTROY, request
from support.guest_requests import (
    READ,
    READ_WRITE,
    SLOT,
    WHOLE_WINDOW,
    Opened,
    answer,
    init_request,
    map_request,
    told,
    unmap_request,
)
from support.host import PAGE
from support.windows import host_window

SIZE = 8 * SLOT
NODE = 5


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(PAGE))
    return path


@pytest.fixture
def file(path: Path) -> Iterator[io.FileIO]:
    with io.FileIO(path, "r+") as file:
        yield file


@pytest.fixture
def dispatcher(mapper: DaxMapper, file: io.FileIO) -> DaxDispatcher:
    return DaxDispatcher(mapper, lambda _nodeid, _fh, _writable: file.fileno())


def book(mapper: DaxMapper) -> list[tuple[int, int, int, bool]]:
    return [(m.window_offset, m.length, m.file_offset, m.writable) for m in mapper]


def test_mapping_is_set_up_and_removed(dispatcher: DaxDispatcher, mapper: DaxMapper, path: Path) -> None:
    assert dispatcher.handle(map_request(NODE, SLOT)) == answer(0)
    assert book(mapper) == [(SLOT, SLOT, 0, False)]
    assert mapper.read(SLOT, PAGE) == path.read_bytes()
    assert dispatcher.handle(unmap_request((SLOT, SLOT))) == answer(0)
    assert book(mapper) == []


def test_write_after_read_upgrades_in_place(dispatcher: DaxDispatcher, mapper: DaxMapper) -> None:
    dispatcher.handle(map_request(NODE, 0))
    assert dispatcher.handle(map_request(NODE, 0, flags=READ_WRITE)) == answer(0)
    assert book(mapper) == [(0, SLOT, 0, True)]
    stats = mapper.stats()
    assert (stats.setup_count, stats.upgrade_count) == (1, 1)


@pytest.mark.parametrize(("fh", "seen"), [(FUSE_NO_FH, None), (0, 0), (2**64 - 2, 2**64 - 2)])
def test_resolver_hears_what_the_guest_asks_for(mapper: DaxMapper, file: io.FileIO, fh: int, seen: int | None) -> None:
    heard: list[tuple[int, int | None, bool]] = []

    def resolve(nodeid: int, fh: int | None, writable: bool) -> int:  # noqa: FBT001
        heard.append((nodeid, fh, writable))
        return file.fileno()

    dispatcher = DaxDispatcher(mapper, resolve)
    assert told(dispatcher.handle(map_request(2**64 - 1, 0, fh=fh))) == 0
    assert told(dispatcher.handle(map_request(0, 0, fh=fh, flags=READ_WRITE))) == 0
    assert heard == [(2**64 - 1, seen, False), (0, seen, True)]


def test_request_may_be_any_buffer(dispatcher: DaxDispatcher, mapper: DaxMapper) -> None:
    request = map_request(NODE, 0)
    spread = memoryview(bytes(byte for pair in zip(request, request, strict=True) for byte in pair))[::2]
    buffers: list[bytes | bytearray | memoryview[Any]] = [
        request,
        bytearray(request),
        memoryview(request),
        memoryview(request).cast("c"),
        spread,
    ]
    for buffer in [*buffers, memoryview(request).cast("Q"), memoryview(request).cast("B", (8, 10))]:
        assert dispatcher.handle(buffer) == answer(0)
        mapper.reset()
    assert mapper.stats().setup_count == 7


def test_long_requests_may_be_any_buffer(file: io.FileIO) -> None:
    entries = [(index * PAGE, PAGE) for index in range(600)]
    request = unmap_request(*entries[:520])
    assert len(request) > 8192  # longer ones are copied in two pieces
    with host_window(0, len(entries) * PAGE) as mapper:
        dispatcher = DaxDispatcher(mapper, lambda _nodeid, _fh, _writable: file.fileno())
        for offset, length in entries:
            dispatcher.handle(map_request(NODE, offset, length=length))
        assert dispatcher.handle(bytearray(request)) == answer(0)
        assert len(mapper) == 80
        for buffer in (memoryview(request).cast("c"), memoryview(request).cast("B", (2, len(request) // 2))):
            mapper.setup_mapping(file, 0, 0, PAGE, writable=False)
            assert dispatcher.handle(buffer) == answer(0)
            assert len(mapper) == 80


def test_requests_of_others_may_be_as_long_as_they_like(dispatcher: DaxDispatcher) -> None:
    too_long = map_request(NODE, SLOT) + bytes(1 << 20)
    assert dispatcher.handle(bytearray(too_long)) == answer(errno.EINVAL)
    write = request_of_opcode(16) + bytes(1 << 20)
    assert dispatcher.handle(bytearray(write)) is None


@pytest.mark.parametrize("thing", ["text", 80, None, [1, 2]])
def test_request_that_is_no_buffer_is_a_type_error(dispatcher: DaxDispatcher, thing: object) -> None:
    with pytest.raises(TypeError):
        dispatcher.handle(thing)  # type: ignore[arg-type]


def request_of_opcode(opcode: int) -> bytes:
    return request(opcode, unique=1, nodeid=1)


@pytest.mark.parametrize("opcode", [0, 1, 3, 15, 16, 25, 47, 50, 2**32 - 1])
def test_other_requests_are_left_to_the_vmm(dispatcher: DaxDispatcher, opcode: int) -> None:
    assert dispatcher.handle(request_of_opcode(opcode)) is None


def test_share_without_a_mapper_answers_enosys(file: io.FileIO) -> None:
    dispatcher = DaxDispatcher(None, lambda *_: file.fileno())
    assert dispatcher.handle(map_request(NODE, 0)) == answer(38)
    assert dispatcher.handle(unmap_request((0, SLOT))) == answer(38)
    assert dispatcher.handle(init_request()) is None


def test_policy_never_answers_enosys(mapper: DaxMapper, file: io.FileIO) -> None:
    dispatcher = DaxDispatcher(mapper, lambda *_: file.fileno(), dax="never")
    assert dispatcher.handle(map_request(NODE, 0)) == answer(38)
    assert len(mapper) == 0


# Removals.


def test_each_entry_is_tried_and_the_first_error_is_told(dispatcher: DaxDispatcher, mapper: DaxMapper) -> None:
    for slot in range(4):
        dispatcher.handle(map_request(NODE, slot * SLOT))
    request = unmap_request((0, SLOT), (SIZE, SLOT), (SLOT, 0), (SLOT + 1, SLOT), (2 * SLOT, SLOT))
    assert dispatcher.handle(request) == answer(errno.EINVAL)
    assert [mapping[0] for mapping in book(mapper)] == [SLOT, 3 * SLOT]


def test_range_that_shows_nothing_is_removed_at_once(dispatcher: DaxDispatcher, mapper: DaxMapper) -> None:
    assert dispatcher.handle(unmap_request((0, SLOT))) == answer(0)
    dispatcher.handle(map_request(NODE, 0))
    assert dispatcher.handle(unmap_request((SLOT, SLOT), (0, SLOT), (0, SLOT), (PAGE, PAGE))) == answer(0)
    stats = mapper.stats()
    assert (len(mapper), stats.remove_count, stats.errors) == (0, 1, {})


@pytest.mark.parametrize("entry", [(0, WHOLE_WINDOW), (0, SIZE)])
def test_whole_window_is_removed_at_once(dispatcher: DaxDispatcher, mapper: DaxMapper, entry: tuple[int, int]) -> None:
    assert dispatcher.handle(unmap_request(entry)) == answer(0)
    for slot in (0, 1, 3):
        dispatcher.handle(map_request(NODE, slot * SLOT))
    assert dispatcher.handle(unmap_request(entry)) == answer(0)
    stats = mapper.stats()
    assert (len(mapper), stats.remove_count, stats.swept_count, stats.errors) == (0, 3, 0, {})


def test_whole_window_goes_while_others_remove_parts_of_it(dispatcher: DaxDispatcher, mapper: DaxMapper) -> None:
    def work(slot: int) -> set[bytes | None]:
        part, whole = unmap_request((slot * SLOT, SLOT)), unmap_request((0, WHOLE_WINDOW))
        requests = map_request(NODE, slot * SLOT), part if slot % 2 else whole
        return {dispatcher.handle(request) for _ in range(300) for request in requests}

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(8))) == [{answer(0)}] * 8
    assert mapper.stats().errors == {}


def test_removal_cuts_what_reaches_out_of_its_range(
    dispatcher: DaxDispatcher, mapper: DaxMapper, file: io.FileIO
) -> None:
    os.ftruncate(file.fileno(), 2 * SLOT)
    dispatcher.handle(map_request(NODE, 0))
    dispatcher.handle(map_request(NODE, SLOT, foffset=SLOT, flags=READ_WRITE))
    assert dispatcher.handle(unmap_request((PAGE, 2 * SLOT - 2 * PAGE))) == answer(0)
    assert book(mapper) == [(0, PAGE, 0, False), (2 * SLOT - PAGE, PAGE, 2 * SLOT - PAGE, True)]


# Mappings over others, as VIRTIO has a device accept them.


def test_range_that_is_mapped_already_shows_the_next_file(
    dispatcher: DaxDispatcher, mapper: DaxMapper, path: Path, tmp_path: Path
) -> None:
    """A guest hands a range whose removal failed to another file, and sends no REMOVEMAPPING again."""
    other = tmp_path / "other"
    other.write_bytes(os.urandom(PAGE))
    dispatcher.handle(map_request(NODE, 0))
    with other.open("rb") as file:
        replaced = DaxDispatcher(mapper, lambda *_: file.fileno()).handle(map_request(NODE, 0))
    assert replaced == answer(0)
    assert (mapper.read(0, PAGE), len(mapper)) == (other.read_bytes(), 1)
    assert dispatcher.handle(map_request(NODE, 0)) == answer(0)
    assert mapper.read(0, PAGE) == path.read_bytes()


def test_writable_range_that_is_asked_for_again_is_what_was_asked_for(
    dispatcher: DaxDispatcher, mapper: DaxMapper
) -> None:
    for flags in (READ_WRITE, READ_WRITE, READ, READ):
        assert dispatcher.handle(map_request(NODE, 0, flags=flags)) == answer(0)
        assert book(mapper) == [(0, SLOT, 0, flags == READ_WRITE)]


def test_mapping_over_a_part_of_another_cuts_it(
    dispatcher: DaxDispatcher, mapper: DaxMapper, file: io.FileIO, path: Path
) -> None:
    os.ftruncate(file.fileno(), SLOT)
    dispatcher.handle(map_request(NODE, 0, flags=READ_WRITE))
    assert dispatcher.handle(map_request(NODE, 2 * PAGE, length=PAGE)) == answer(0)
    assert book(mapper) == [
        (0, 2 * PAGE, 0, True),
        (2 * PAGE, PAGE, 0, False),
        (3 * PAGE, SLOT - 3 * PAGE, 3 * PAGE, True),
    ]
    content = path.read_bytes()
    assert mapper.read(0, SLOT) == content[: 2 * PAGE] + content[:PAGE] + content[3 * PAGE :]


# A guest that starts anew, or leaves.


@pytest.mark.parametrize("start_or_end", [init_request(), request(FUSE_DESTROY, unique=1)])
def test_mappings_end_with_init_and_destroy(dispatcher: DaxDispatcher, mapper: DaxMapper, start_or_end: bytes) -> None:
    dispatcher.handle(map_request(NODE, 0))
    dispatcher.handle(map_request(NODE, SLOT))
    assert dispatcher.handle(start_or_end) is None
    assert (len(mapper), mapper.stats().swept_count) == (0, 2)
    assert dispatcher.handle(map_request(NODE, 0)) == answer(0)


def test_mappings_that_others_set_up_end_with_init_too(
    dispatcher: DaxDispatcher, mapper: DaxMapper, file: io.FileIO
) -> None:
    mapper.setup_mapping(file, 0, 0, SLOT, writable=False)
    dispatcher.handle(init_request())
    assert len(mapper) == 0


def test_closed_mapper_is_no_exception(dispatcher: DaxDispatcher, mapper: DaxMapper) -> None:
    mapper.drain_all()
    assert dispatcher.handle(init_request()) is None
    assert dispatcher.handle(map_request(NODE, 0)) == answer(errno.ENODEV)
    assert dispatcher.handle(unmap_request((0, SLOT))) == answer(errno.ENODEV)
    assert dispatcher.handle(unmap_request((0, WHOLE_WINDOW))) == answer(errno.ENODEV)


# The files that a resolver gives.


@pytest.mark.parametrize("is_open", [True, False])
def test_object_is_closed_after_the_mapping_or_its_refusal(
    mapper: DaxMapper, file: io.FileIO, *, is_open: bool
) -> None:
    opened = Opened(file.fileno() if is_open else -1)
    dispatcher = DaxDispatcher(mapper, lambda *_: opened)
    assert dispatcher.handle(map_request(NODE, 0)) == answer(0 if is_open else errno.EBADF)
    assert opened.closed == 1


def test_int_stays_open(dispatcher: DaxDispatcher, file: io.FileIO) -> None:
    dispatcher.handle(map_request(NODE, 0))
    os.fstat(file.fileno())


def test_object_is_closed_if_its_fileno_fails(mapper: DaxMapper) -> None:
    class Failing(Opened):
        def fileno(self) -> int:
            raise OSError(errno.EMFILE, "no number")

    opened = Failing(0)
    dispatcher = DaxDispatcher(mapper, lambda *_: opened)
    assert dispatcher.handle(map_request(NODE, 0)) == answer(errno.EMFILE)
    assert opened.closed == 1


def test_mapping_stands_if_close_fails(mapper: DaxMapper, file: io.FileIO, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Opened):
        def close(self) -> None:
            raise RuntimeError("cannot close")

    dispatcher = DaxDispatcher(mapper, lambda *_: Failing(file.fileno()))
    assert dispatcher.handle(map_request(NODE, 0)) == answer(0)
    assert len(mapper) == 1
    assert "cannot close" in caplog.text


def test_resolver_and_mapper_may_call_back(mapper: DaxMapper, file: io.FileIO) -> None:
    dispatcher: DaxDispatcher

    def resolve(nodeid: int, _fh: int | None, _writable: bool) -> int:  # noqa: FBT001
        if nodeid == NODE:
            assert dispatcher.handle(map_request(NODE + 1, SLOT)) == answer(0)
            mapper.remove_mapping(SLOT, SLOT)
        return file.fileno()

    dispatcher = DaxDispatcher(mapper, resolve)
    assert dispatcher.handle(map_request(NODE, 0)) == answer(0)
    assert mapper.stats().setup_count == 2


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_interrupt_passes_through(mapper: DaxMapper, interrupt: type[BaseException]) -> None:
    def resolve(*_: object) -> int:
        raise interrupt

    with pytest.raises(interrupt):
        DaxDispatcher(mapper, resolve).handle(map_request(NODE, 0))
    assert len(mapper) == 0


def test_interrupt_in_close_passes_through(mapper: DaxMapper, file: io.FileIO) -> None:
    class Failing(Opened):
        def close(self) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        DaxDispatcher(mapper, lambda *_: Failing(file.fileno())).handle(map_request(NODE, 0))


def test_many_threads_at_once(dispatcher: DaxDispatcher, mapper: DaxMapper) -> None:
    def work(slot: int) -> set[bytes | None]:
        requests = map_request(NODE, slot * SLOT), unmap_request((slot * SLOT, SLOT)), request_of_opcode(3)
        return {dispatcher.handle(request) for _ in range(500) for request in requests}

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(8))) == [{answer(0), None}] * 8
    stats = mapper.stats()
    assert (stats.setup_count, stats.remove_count, stats.errors) == (4000, 4000, {})
    assert dispatcher.status().mapped == 4000


def test_constructor_refuses_what_cannot_work(mapper: DaxMapper, file: io.FileIO) -> None:
    def resolve(*_: object) -> int:
        return file.fileno()

    wrong: list[tuple[type[Exception], Callable[[], object]]] = [
        (TypeError, lambda: DaxDispatcher(mapper, file)),  # type: ignore[arg-type]
        (TypeError, lambda: DaxDispatcher(file, resolve)),  # type: ignore[arg-type]
        (TypeError, lambda: DaxDispatcher(mapper, resolve, dax=True)),  # type: ignore[arg-type]
        (TypeError, lambda: DaxDispatcher(mapper, resolve, rule=1, dax="inode")),  # type: ignore[arg-type]
        (TypeError, lambda: DaxDispatcher(mapper, resolve, min_size=True, dax="inode")),
        (ValueError, lambda: DaxDispatcher(mapper, resolve, dax="sometimes")),  # type: ignore[arg-type]
        (ValueError, lambda: DaxDispatcher(mapper, resolve, min_size=-1, dax="inode")),
        (ValueError, lambda: DaxDispatcher(mapper, resolve, min_size=1)),
        (ValueError, lambda: DaxDispatcher(mapper, resolve, rule=lambda _stat: True, dax="never")),
    ]
    for error, make in wrong:
        with pytest.raises(error):
            make()


def test_cycle_through_the_resolver_is_collected(mapper: DaxMapper) -> None:
    class Share:
        def __init__(self) -> None:
            self.dispatcher = DaxDispatcher(mapper, self.resolve)

        def resolve(self, _nodeid: int, _fh: int | None, _writable: bool) -> int:  # noqa: FBT001
            return -1

    share = weakref.ref(Share())
    gc.collect()
    assert share() is None
