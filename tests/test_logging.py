"""Records of the logger `daxmap`."""

import logging
import sys
import time
from collections.abc import Callable
from errno import ENOENT
from pathlib import Path

import pytest

from daxmap import DaxMapper, HostWindowBackend
from support.children import run_in_child
from support.host import PAGE
from support.recording import Fault, RecordingHypervisor
from support.records import LOGGER, Prober, Recorder, recording
from support.rig import Rig, Subject

BURST = 10
"""Warnings of a mapper that are let through at once; then it is one a second."""


def refuse(mapper: DaxMapper, offset: int = 8 * PAGE) -> None:
    with pytest.raises(FileNotFoundError):
        mapper.remove_mapping(offset, PAGE)


def test_each_success_is_a_debug_record(subject: Subject) -> None:
    file = subject.rig.file()
    with recording(logging.DEBUG) as recorder:
        subject.map(file, PAGE, 2 * PAGE, file_offset=PAGE)
        (message,) = recorder.take(logging.DEBUG)
        for part in (hex(PAGE), hex(3 * PAGE), str(file.inode), "read-only"):
            assert part in message
        subject.map(file, PAGE, 2 * PAGE, file_offset=PAGE, writable=True)
        (message,) = recorder.take(logging.DEBUG)
        assert "upgrade" in message
        subject.remove(PAGE, 2 * PAGE)
        (message,) = recorder.take(logging.DEBUG)
        assert hex(PAGE) in message
        subject.map(file, 0)
        recorder.take(logging.DEBUG)
        subject.mapper.remove_mappings([(0, PAGE)])
        assert len(recorder.take(logging.DEBUG)) == 1
        subject.mapper.reset()
        assert len(recorder.take(logging.DEBUG)) == 1
        subject.mapper.drain_all()
        assert len(recorder.take(logging.DEBUG)) == 1
        subject.mapper.drain_all()
        assert recorder.take(logging.DEBUG) == []
    subject.model.clear()


def test_success_is_silent_otherwise(subject: Subject) -> None:
    with recording(logging.INFO) as recorder:
        subject.map(subject.rig.file(), 0)
        subject.remove(0)
        subject.mapper.reset()
    assert recorder.records == []


def test_change_of_level_takes_effect_at_the_next_call(subject: Subject) -> None:
    file = subject.rig.file()

    def records_of_a_call(recorder: Recorder) -> int:
        subject.map(file, 0)
        subject.remove(0)
        return len(recorder.take(logging.DEBUG))

    root = logging.getLogger()
    root_level = root.level
    with recording(logging.DEBUG) as recorder:
        assert records_of_a_call(recorder) == 2
        LOGGER.setLevel(logging.INFO)
        assert records_of_a_call(recorder) == 0
        LOGGER.setLevel(logging.DEBUG)
        assert records_of_a_call(recorder) == 2
        logging.disable(logging.DEBUG)
        assert records_of_a_call(recorder) == 0
        logging.disable(logging.NOTSET)
        assert records_of_a_call(recorder) == 2
        LOGGER.setLevel(logging.NOTSET)
        try:
            root.setLevel(logging.WARNING)
            assert records_of_a_call(recorder) == 0
            root.setLevel(logging.DEBUG)
            assert records_of_a_call(recorder) == 2
        finally:
            root.setLevel(root_level)


def test_rejection_is_a_warning_that_names_call_and_values(subject: Subject) -> None:
    with recording(logging.WARNING) as recorder:
        refuse(subject.mapper, 0xABC000)
    (message,) = recorder.take(logging.WARNING)
    assert "remove_mapping" in message
    assert "0xabc000" in message


def test_wrong_types_are_not_logged(subject: Subject) -> None:
    with recording(logging.DEBUG) as recorder, pytest.raises(TypeError):
        subject.mapper.remove_mapping(None, PAGE)  # type: ignore[arg-type]
    assert recorder.records == []


def check_flood(subject: Subject, flood: Callable[[], None], rejections: int) -> None:
    with recording(logging.WARNING) as recorder:
        started = time.monotonic()
        flood()
        seconds = time.monotonic() - started
    messages = recorder.take(logging.WARNING)
    assert BURST <= len(messages) <= BURST + seconds + 1
    assert "held back" not in "".join(messages[:BURST])
    assert subject.mapper.stats().errors == {ENOENT: rejections}


def test_flood_of_rejections_is_cut(subject: Subject) -> None:
    def flood() -> None:
        for _ in range(5000):
            refuse(subject.mapper)

    check_flood(subject, flood, 5000)


def test_flood_in_one_batch_is_cut(subject: Subject) -> None:
    batch = [(page * PAGE, PAGE) for page in range(4096)]
    check_flood(subject, lambda: assert_all_fail(subject, batch), 4096)


def assert_all_fail(subject: Subject, batch: list[tuple[int, int]]) -> None:
    assert len(subject.mapper.remove_mappings(batch).failed) == len(batch)


def test_one_guest_does_not_use_up_the_warnings_of_another(rig: Rig) -> None:
    loud, quiet = rig.open(), rig.open()
    with recording(logging.WARNING) as recorder:
        for _ in range(100):
            refuse(loud.mapper)
        recorder.take(logging.WARNING)
        refuse(quiet.mapper)
        assert len(recorder.take(logging.WARNING)) == 1


@pytest.mark.parametrize("pages", [3, 40])
def test_what_a_drain_could_not_do_is_told_whatever_a_guest_did_before(tmp_path: Path, pages: int) -> None:
    recorder = RecordingHypervisor()
    mapper = recorder.mapper()
    with (tmp_path / "file").open("w+b") as file:
        for page in range(pages):
            mapper.setup_mapping(file, 0, page * PAGE, PAGE, writable=False)
    with recording(logging.WARNING):
        for _ in range(100):
            refuse(mapper, 60 * PAGE)
    recorder.fail_next(*[Fault(returns=-1)] * 1000)
    with recording(logging.WARNING) as records:
        mapper.drain_all()
    messages = records.take(logging.WARNING)
    assert mapper.stats().leaked_count == pages
    if pages == 3:
        told = "\n".join(messages)
        assert all(f"range [{page * PAGE:#x}, {(page + 1) * PAGE:#x}) is leaked" in told for page in range(pages))
    else:
        assert len(messages) == BURST + 1
        assert "more" in messages[-1]


def test_what_a_handler_raises_harms_no_call(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    class HandlerError(Exception):
        pass

    def fail() -> None:
        raise HandlerError

    unraisable: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda event: unraisable.append(event.exc_type))
    with recording(logging.DEBUG, fail):
        subject.map(subject.rig.file(), 0)
        refuse(subject.mapper)
        subject.remove(0)
    assert unraisable == [HandlerError] * 3
    subject.agree()


def handler_that_waits_for_the_mapper(rig: Rig) -> None:
    prober = Prober()
    subject = rig.open()
    mapper, fd = subject.mapper, rig.file().fd
    prober.mapper = mapper
    with recording(logging.DEBUG, prober):
        prober.check(
            lambda: mapper.setup_mapping(fd, 0, 0, PAGE, writable=False),
            lambda: mapper.setup_mapping(fd, 0, 0, PAGE, writable=True),
            lambda: mapper.setup_mapping(fd, 0, 0, PAGE, writable=True),
            lambda: mapper.remove_mapping(0, PAGE),
            lambda: mapper.remove_mapping(0, PAGE),
            lambda: mapper.remove_mappings([(0, PAGE)]),
            lambda: mapper.read(0, 1),
            lambda: mapper.write(0, b"x"),
            mapper.reset,
            mapper.drain_all,
            mapper.reset,
        )


def handler_that_calls_the_mapper(rig: Rig) -> None:
    """The same thread may call again too."""
    subject = rig.open()
    mapper, fd = subject.mapper, rig.file().fd
    depth = 0

    def call_back() -> None:
        nonlocal depth
        if depth < 3:
            depth += 1
            mapper.setup_mapping(fd, 0, depth * PAGE, PAGE, writable=False)

    with recording(logging.DEBUG, call_back):
        mapper.setup_mapping(fd, 0, 0, PAGE, writable=False)
        assert len(mapper) == 4
        depth = 0
        mapper.remove_mappings([(page * PAGE, PAGE) for page in range(4)])
        assert len(mapper) == 3
    mapper.reset()


def handler_during_the_drain_of_a_dropped_backend(rig: Rig) -> None:
    assert rig.mapped() == []
    prober = Prober()
    with pytest.warns(ResourceWarning, match="release"):
        prober.mapper = DaxMapper(1 << 40, 2 << 20, HostWindowBackend())
    with recording(logging.WARNING, prober):
        prober.check(prober.mapper.drain_all)


@pytest.mark.parametrize(
    "body", [handler_that_waits_for_the_mapper, handler_that_calls_the_mapper], ids=lambda body: body.__name__
)
def test_records_are_emitted_without_the_lock(window_backend: str, tmp_path: Path, body: Callable[[Rig], None]) -> None:
    run_in_child(body, window_backend, tmp_path)


def test_records_of_the_drain_are_emitted_without_the_lock(tmp_path: Path) -> None:
    run_in_child(handler_during_the_drain_of_a_dropped_backend, "host-window", tmp_path)


def program_without_a_handler(rig: Rig) -> None:
    subject = rig.open()
    refuse(subject.mapper)


def test_program_that_sets_up_no_logging_prints_nothing(window_backend: str, tmp_path: Path) -> None:
    run_in_child(program_without_a_handler, window_backend, tmp_path)
