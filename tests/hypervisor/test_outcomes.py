"""What the answers of a VMM's own hypervisor or backend mean."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from errno import EACCES, EIO, ENOSPC

import pytest

from daxmap import DaxMapper
from support.files import HostFile
from support.host import PAGE
from support.recording import (
    RECORDERS,
    AnyRecorder,
    Fault,
    ProtectingBackend,
    ProtectingHypervisor,
    RecordingBackend,
    RecordingHypervisor,
    check_books,
)


class Status(IntEnum):
    SUCCESS = 0


DONE = [None, 0, Status.SUCCESS]
REFUSED = [False, True, 5, -1, 0.0, "", b"", [], 1 << 80, Exception]
URGENT = [KeyboardInterrupt, SystemExit, GeneratorExit]
REMOVALS: dict[str, Callable[[DaxMapper], object]] = {
    "remove_mapping": lambda mapper: mapper.remove_mapping(0, PAGE),
    "remove_mappings": lambda mapper: mapper.remove_mappings([(0, PAGE), (PAGE, PAGE)]),
    "reset": DaxMapper.reset,
}


@contextmanager
def refused(recorder: AnyRecorder, mapper: DaxMapper, errno: int = EIO) -> Iterator[pytest.ExceptionInfo[OSError]]:
    """Check that the call in the block fails, and that nothing has changed after it."""
    shown, live = recorder.shown(), list(mapper)
    with pytest.raises(OSError, match=r"\w") as caught:
        yield caught
    assert caught.value.errno == errno
    assert recorder.shown() == shown
    assert list(mapper) == live
    check_books(recorder, mapper)


@pytest.mark.parametrize("answer", DONE)
def test_none_and_zero_mean_done(recorder: AnyRecorder, mapper: DaxMapper, file: HostFile, answer: object) -> None:
    recorder.faults = dict.fromkeys(range(9), Fault(returns=answer, works_first=True))
    mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False)
    mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=True)
    mapper.remove_mapping(0, PAGE)
    assert recorder.names in (["map", "protect", "unmap"], ["map", "unmap", "map", "unmap"])
    assert mapper.stats().errors == {}


@pytest.mark.parametrize("answer", REFUSED)
def test_any_other_value_is_a_refusal(recorder: AnyRecorder, mapper: DaxMapper, file: HostFile, answer: object) -> None:
    fault = Fault(returns=answer)
    for writable in (False, True):
        recorder.fail_next(fault)
        with refused(recorder, mapper) as caught:
            mapper.setup_mapping(file.fd, 0, 0, PAGE, writable)
        assert repr(answer) in str(caught.value)
        assert caught.value.__cause__ is None
    mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False)
    recorder.fail_next(fault)
    with refused(recorder, mapper):
        mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=True)  # protect, or the unmap before the new map
    recorder.fail_next(fault)
    with refused(recorder, mapper):
        mapper.remove_mapping(0, PAGE)
    assert mapper.stats().errors == {EIO: 4}


def test_value_whose_repr_raises_is_a_refusal(recorder: AnyRecorder, mapper: DaxMapper, file: HostFile) -> None:
    class Nameless:
        def __repr__(self) -> str:
            raise RuntimeError

    recorder.fail_next(Fault(returns=Nameless()))
    with refused(recorder, mapper):
        mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False)


@pytest.mark.parametrize("works_first", [False, True])
def test_exception_is_the_cause_of_the_refusal(
    recorder: AnyRecorder, mapper: DaxMapper, file: HostFile, *, works_first: bool
) -> None:
    error = RuntimeError("the guest said no")
    recorder.fail_next(Fault(raises=error, works_first=works_first))
    with refused(recorder, mapper) as caught:
        mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=True)
    assert caught.value.__cause__ is error
    assert "the guest said no" in str(caught.value)
    assert recorder.names == ["map", "unmap"], "a map that raised may have worked"
    mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=True)


@pytest.mark.parametrize(
    ("error", "errno"),
    [
        (OSError(ENOSPC, "no room"), ENOSPC),
        (PermissionError(EACCES, "no"), EACCES),
        (OSError("without a number"), EIO),
        (OSError(0, "no failure"), EIO),
        (OSError(-EACCES, "negative"), EIO),
        (OSError(1 << 40, "no errno"), EIO),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", RECORDERS)
def test_errno_of_an_os_error_is_kept_by_a_backend_alone(
    kind: type[AnyRecorder], file: HostFile, error: OSError, errno: int
) -> None:
    recorder = kind()
    expected = errno if isinstance(recorder, RecordingBackend) else EIO
    fault = Fault(raises=error)
    with recorder.mapper() as mapper:
        recorder.fail_next(fault)
        with refused(recorder, mapper, expected) as caught:
            mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False)
        assert caught.value.__cause__ is error
        mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False)
        # Protect; or the map after the unmap, which is asked for once more.
        recorder.fail_next(*([] if "protect" in dir(recorder) else [None]), fault)
        with refused(recorder, mapper, expected):
            mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=True)


@pytest.mark.parametrize("kind", URGENT)
@pytest.mark.parametrize("works_first", [False, True])
def test_urgent_exception_from_map_passes_through_once_it_is_undone(
    recorder: AnyRecorder, mapper: DaxMapper, file: HostFile, kind: type[BaseException], *, works_first: bool
) -> None:
    error = kind()
    recorder.fail_next(Fault(raises=error, works_first=works_first))
    with pytest.raises(kind) as caught:
        mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False)
    assert caught.value is error
    assert recorder.book == {}
    check_books(recorder, mapper)
    mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False)


@pytest.mark.parametrize("kind", URGENT)
def test_urgent_exception_from_an_upgrade_passes_through_and_the_old_access_stands(
    recorder: AnyRecorder, mapper: DaxMapper, file: HostFile, kind: type[BaseException]
) -> None:
    protects = isinstance(recorder, ProtectingHypervisor | ProtectingBackend)
    mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False)
    error = kind()
    recorder.faults[len(recorder.calls) + (not protects)] = Fault(raises=error, works_first=not protects)
    with pytest.raises(kind) as caught:
        mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=True)
    assert caught.value is error
    assert recorder.shown() == {0: (PAGE, False)}
    check_books(recorder, mapper)
    mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=True)
    mapper.remove_mapping(0, PAGE)


@pytest.mark.parametrize("kind", URGENT)
@pytest.mark.parametrize("name", REMOVALS)
def test_urgent_exception_from_unmap_passes_through_once_the_range_is_gone(
    recorder: AnyRecorder, mapper: DaxMapper, file: HostFile, kind: type[BaseException], name: str
) -> None:
    mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False)
    mapper.setup_mapping(file.fd, 0, PAGE, PAGE, writable=False)
    error = kind()
    recorder.fail_next(Fault(raises=error))
    with pytest.raises(kind) as caught:
        REMOVALS[name](mapper)
    assert caught.value is error
    assert recorder.shown().keys() == ({PAGE} if name == "remove_mapping" else set())
    check_books(recorder, mapper)
    assert mapper.stats().lost_count == 0


@pytest.mark.parametrize("kind", URGENT)
def test_urgent_exception_from_unmap_does_not_stop_a_drain(
    recorder: AnyRecorder, file: HostFile, kind: type[BaseException]
) -> None:
    error = kind()
    mapper = recorder.mapper()
    for offset in range(0, 3 * PAGE, PAGE):
        mapper.setup_mapping(file.fd, 0, offset, PAGE, writable=False)
    recorder.fail_next(None, Fault(raises=error), None, Fault(raises=kind()), Fault(returns=5))
    with pytest.raises(kind) as caught, mapper:
        pass
    assert caught.value is error, "the first of them"
    assert mapper.closed
    assert recorder.shown().keys() == {2 * PAGE}
    assert (mapper.stats().swept_count, mapper.stats().lost_count) == (2, 1)
    mapper.drain_all()
    assert recorder.names == ["map"] * 3 + ["unmap"] * 5


@pytest.mark.parametrize("kind", [RecordingHypervisor, RecordingBackend])
def test_upgrade_without_protect_whose_way_back_fails_too_is_lost(kind: type[AnyRecorder], file: HostFile) -> None:
    recorder = kind()
    error = OSError(ENOSPC, "the first")
    with recorder.mapper() as mapper:
        mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False)
        recorder.fail_next(None, Fault(raises=error, works_first=True), None, Fault(raises=OSError(EACCES, "no")), None)
        with pytest.raises(OSError, match="lost") as caught:
            mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=True)
        assert recorder.names == ["map", "unmap", "map", "unmap", "map", "unmap"]
        assert caught.value.errno == EIO
        assert caught.value.__cause__ is error
        assert mapper.stats().lost_count == 1
        assert recorder.book == {}
        check_books(recorder, mapper)
        mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=True)
