"""Mappers and hypervisors that hold each other, that are dropped, and that the interpreter's end finds alive."""

import gc
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from daxmap import DaxMapper, HypervisorBackend
from support.files import HostFile
from support.host import PAGE, vmas
from support.programs import TIMEOUT, with_support
from support.recording import BASE, SIZE, AnyRecorder, Fault, RecordingHypervisor


def is_mapped(file: HostFile) -> bool:
    return any(vma.shown.inode == file.inode for vma in vmas())


def holder_of(held: object) -> Callable[[], object]:
    """A callback that holds on to an object: the mapper that calls it, say."""
    return lambda: held


def test_cycle_of_mapper_and_backend_is_collected_after_the_guest_has_lost_its_mappings(
    kind: type[AnyRecorder], file: HostFile
) -> None:
    recorder = kind()
    mapper = recorder.mapper()
    mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False)
    mapper.setup_mapping(file.fd, 0, PAGE, PAGE, writable=True)
    recorder.on_call = holder_of(mapper)
    calls, book = recorder.calls, recorder.book
    gone: list[weakref.ref[object]] = [weakref.ref(mapper), weakref.ref(recorder)]
    del mapper, recorder
    with pytest.warns(ResourceWarning, match="drain_all"):
        gc.collect()
    assert [call[0] for call in calls] == ["map", "map", "unmap", "unmap"]
    assert book == {}
    assert [reference() for reference in gone] == [None, None]
    assert not is_mapped(file)


def test_cycle_of_a_drained_mapper_is_collected_in_silence(kind: type[AnyRecorder], file: HostFile) -> None:
    recorder = kind()
    mapper = recorder.mapper()
    mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False)
    recorder.on_call = holder_of(mapper)
    mapper.drain_all()
    calls = recorder.calls
    gone: list[weakref.ref[object]] = [weakref.ref(mapper), weakref.ref(recorder)]
    del mapper, recorder
    gc.collect()
    assert [call[0] for call in calls] == ["map", "unmap"]
    assert [reference() for reference in gone] == [None, None]


def test_cycle_through_a_backend_that_no_mapper_has_is_collected() -> None:
    hypervisor = RecordingHypervisor()
    backend = HypervisorBackend(hypervisor)
    hypervisor.on_call = holder_of(backend)
    gone = weakref.ref(hypervisor)
    del hypervisor, backend
    gc.collect()
    assert gone() is None


def test_dropped_mapper_takes_its_mappings_away_with_a_warning(kind: type[AnyRecorder], file: HostFile) -> None:
    recorder = kind()
    mapper = recorder.mapper()
    mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False)
    with pytest.warns(ResourceWarning, match="drain_all"):
        del mapper
    assert recorder.names == ["map", "unmap"]
    assert not is_mapped(file)


def test_what_a_callback_raises_during_a_drop_is_unraisable(
    kind: type[AnyRecorder], file: HostFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[BaseException | None] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda report: raised.append(report.exc_value))
    recorder = kind()
    mapper = recorder.mapper()
    mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False)
    interrupt = KeyboardInterrupt()
    recorder.fail_next(Fault(raises=interrupt))
    with pytest.warns(ResourceWarning, match="drain_all"):
        del mapper
    assert raised == [interrupt]


def test_mapper_keeps_its_hypervisor_alive(file: HostFile) -> None:
    hypervisor = RecordingHypervisor()
    alive = weakref.ref(hypervisor)
    with DaxMapper(BASE, SIZE, HypervisorBackend(hypervisor)) as mapper:
        del hypervisor
        gc.collect()
        mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False)
        held = alive()
        assert held is not None
        assert held.names == ["map"]


PROGRAM = """
import os
import sys
from pathlib import Path

from support import recording
from support.files import HostFile
from support.host import PAGE

kind, path, *wishes = sys.argv[1:]


class Loud(getattr(recording, kind)):
    def unmap(self, *arguments):
        os.write(1, b"unmap ")
        return super().unmap(*arguments)


recorder = Loud()
mapper = recorder.mapper()
if "cycle" in wishes:
    recorder.on_call = lambda: mapper
file = HostFile(Path(path), 4)
mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False)
mapper.setup_mapping(file.fd, 0, PAGE, PAGE, writable=True)
if "drain" in wishes:
    mapper.drain_all()
os.write(1, b"end ")
"""


@pytest.mark.parametrize("wishes", [[], ["drain"], ["cycle"], ["drain", "cycle"]], ids="+".join)
def test_interpreter_that_ends_with_a_global_mapper_does_not_crash(
    kind: type[AnyRecorder], tmp_path: Path, wishes: list[str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, kind.__name__, tmp_path / "file", *wishes],
        env=with_support(),
        capture_output=True,
        check=False,
        timeout=TIMEOUT,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    if "drain" in wishes:
        assert done.stdout == b"unmap unmap end ", "nothing is called after the drain"
    else:
        assert done.stdout.startswith(b"end ")
