"""System calls, memory areas and page faults. They can be counted, and so repeat where times don't."""

import ctypes
import mmap
import os
import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from daxmap import DaxDispatcher, DaxMapper, HostWindowBackend, reopen
from support.children import run_in_child
from support.files import HostFile
from support.guest_requests import map_request
from support.host import LIBC, PAGE, vmas
from support.rig import Rig
from support.rigs import HostWindowRig
from support.trace import Calls, Tracer

SLOT = 2 << 20
SLOTS = 600
GIB = 1 << 30
MAP_FIXED = 0x10
"""Which the module mmap lacks."""


class Scene:
    """A mapper that has mapped from the file's device before, for reading and for writing."""

    def __init__(self, rig: HostWindowRig, tracer: Tracer) -> None:
        self.mapper = rig.open(SLOTS * SLOT).mapper
        self.file = rig.file(1)
        self.tracer = tracer
        for writable in (False, True):
            self.setup(0, writable=writable)
            self.mapper.remove_mapping(0, SLOT)

    def setup(self, *slots: int, writable: bool = False) -> None:
        """Maps whole slots."""
        for slot in slots:
            self.mapper.setup_mapping(self.file.fd, 0, slot * SLOT, SLOT, writable)

    def remove(self, slots: Sequence[int]) -> None:
        """Removes mappings of whole slots in a batch."""
        assert self.mapper.remove_mappings([(slot * SLOT, SLOT) for slot in slots]).removed == len(slots)

    def calls(self, call: Callable[[], object]) -> Calls:
        """What it asks the kernel for."""
        with self.tracer.calls() as calls:
            call()
        return calls


@pytest.fixture(scope="session")
def tracer(compile_c: Callable[[str], Path]) -> Tracer:
    return Tracer(compile_c("trace"))


@pytest.fixture
def scene(window_rig: HostWindowRig, tracer: Tracer) -> Scene:
    return Scene(window_rig, tracer)


@pytest.mark.parametrize("writable", [False, True])
def test_setup_is_one_mmap_and_one_fstat(scene: Scene, *, writable: bool) -> None:
    assert scene.calls(lambda: scene.setup(1, writable=writable)) == {"mmap": 1, "fstat": 1}


def test_request_for_a_file_that_is_reopened_adds_what_opens_it(scene: Scene) -> None:
    """Looked at before and after it is opened, and by the file object."""
    path_fd = os.open(scene.file.path, os.O_PATH)
    handle = DaxDispatcher(scene.mapper, lambda _nodeid, _fh, writable: reopen(path_fd, writable)).handle
    setup = map_request(1, SLOT)
    handle(setup)
    assert scene.calls(lambda: handle(setup)) == {"mmap": 1, "fstat": 1 + 3, "openat": 1, "close": 1}
    os.close(path_fd)


def test_upgrade_is_one_mmap_and_one_fstat(scene: Scene) -> None:
    scene.setup(1)
    assert scene.calls(lambda: scene.setup(1, writable=True)) == {"mmap": 1, "fstat": 1}
    assert scene.mapper.stats().upgrade_count == 1


def test_removal_is_one_mmap(scene: Scene) -> None:
    slots = (1, 4, 5)
    scene.setup(*slots)
    for slot in slots:
        scene.remove([slot])
    scene.setup(*slots)
    for slot in slots:
        assert scene.calls(lambda: scene.mapper.remove_mapping(slot * SLOT, SLOT)) == {"mmap": 1}  # noqa: B023


def test_first_removal_from_a_slot_changes_the_holes_beside_it_too(scene: Scene) -> None:
    """So that its own hole never merges with them again."""
    scene.setup(6, 8, 11)
    for slot, calls in ((6, 3), (8, 2), (11, 1)):
        assert scene.calls(lambda: scene.mapper.remove_mapping(slot * SLOT, SLOT)) == {"mmap": calls}  # noqa: B023
    holes = areas(scene.mapper)
    scene.setup(6, 8, 11)
    assert areas(scene.mapper) == holes


def test_making_a_window_costs_the_same_whatever_its_size(window_rig: HostWindowRig, tracer: Tracer) -> None:
    made = []
    for size in (SLOT, 8 * GIB):
        with tracer.calls() as calls:
            subject = window_rig.open(size)
        assert areas(subject.mapper) == 1
        made.append(calls)
    assert made[0]["mmap"] == made[1]["mmap"]


@pytest.mark.parametrize("length", [PAGE, SLOT // 2])
def test_removal_of_a_part_of_a_slot_is_one_mmap(scene: Scene, length: int) -> None:
    for slot in (2, 3):
        offset = slot * SLOT + PAGE
        scene.mapper.setup_mapping(scene.file.fd, 0, offset, length, writable=False)
        assert scene.calls(lambda: scene.mapper.remove_mapping(offset, length)) == {"mmap": 1}  # noqa: B023


def test_first_mapping_from_a_device_is_tried_elsewhere(window_rig: HostWindowRig, tracer: Tracer) -> None:
    mapper, file = window_rig.open().mapper, window_rig.file(1)
    for writable in (False, True):
        with tracer.calls() as calls:
            mapper.setup_mapping(file.fd, 0, writable * SLOT, SLOT, writable)
        assert calls == {"fstat": 1, "fstatfs": 1, "mmap": 2, "munmap": 1}


@pytest.mark.parametrize(
    "slots",
    [range(256), Random(0).sample(range(256), 256), range(0, 512, 2)],  # noqa: S311
    ids=["adjacent", "shuffled", "every other"],
)
def test_batch_of_neighbours_is_one_mmap(scene: Scene, slots: Sequence[int]) -> None:
    scene.setup(*slots)
    assert scene.calls(lambda: scene.remove(slots)) == {"mmap": 1}


def test_batch_is_one_mmap_a_run(scene: Scene) -> None:
    scene.setup(*range(12))
    assert scene.calls(lambda: scene.remove([10, 1, 0, 5, 6, 9])) == {"mmap": 3}


def test_reset_is_one_mmap(scene: Scene) -> None:
    scene.setup(*range(0, SLOTS, 3))
    assert scene.calls(scene.mapper.reset) == {"mmap": 1}
    assert scene.calls(scene.mapper.reset) == {}


def test_looking_is_no_system_call(scene: Scene) -> None:
    scene.setup(1, 2)
    mapper = scene.mapper
    for look in (mapper.stats, mapper.__len__, lambda: list(mapper), lambda: mapper.lookup(SLOT), mapper.__repr__):
        assert scene.calls(look) == {}


def test_prefault_is_one_madvise_more_unless_writable(tracer: Tracer, file: HostFile) -> None:
    backend = HostWindowBackend()
    with DaxMapper(0, 4 * SLOT, backend, prefault=True) as mapper:
        for offset, writable in ((0, False), (SLOT, True)):
            mapper.setup_mapping(file.fd, 0, offset, SLOT, writable)
        with tracer.calls() as read_only:
            mapper.setup_mapping(file.fd, 0, 2 * SLOT, SLOT, writable=False)
        with tracer.calls() as writable_too:
            mapper.setup_mapping(file.fd, 0, 3 * SLOT, SLOT, writable=True)
    backend.release()
    assert read_only == {"fstat": 1, "mmap": 1, "madvise": 1}
    assert writable_too == {"fstat": 1, "mmap": 1}


@pytest.fixture
def file(tmp_path: Path) -> Iterator[HostFile]:
    """A file of one slot's length, in the page cache."""
    file = HostFile(tmp_path / "file", SLOT // PAGE)
    yield file
    file.close()


def areas(mapper: DaxMapper) -> int:
    """How many memory areas (VMAs) the kernel has for a window."""
    low = mapper.host_address
    assert low is not None
    return sum(low <= vma.start < low + mapper.size for vma in vmas())


def test_a_window_never_has_more_areas_than_two_a_mapping_and_one_a_slot(window_rig: HostWindowRig) -> None:
    random = Random(1)  # noqa: S311
    slots = 8
    mapper, file = window_rig.open(slots * SLOT).mapper, window_rig.file(1)
    most = 0
    for _ in range(300):
        for _ in range(10):
            length = random.choice((PAGE, PAGE, 3 * PAGE, SLOT, SLOT + PAGE))
            offset = random.randrange(0, slots * SLOT - length, PAGE)
            near = random.choice((offset, offset // SLOT * SLOT))
            if not any(mapper.lookup(at) for at in range(near, near + length, PAGE)):
                mapper.setup_mapping(file.fd, 0, near, length, writable=random.random() < 0.5)
        live = [(info.window_offset, info.length) for info in mapper]
        most = max(most, areas(mapper) - 2 * len(mapper))
        mapper.remove_mappings(random.sample(live, random.randrange(len(live) // 4 + 1)))
        most = max(most, areas(mapper) - 2 * len(mapper))
        if random.random() < 0.02:
            mapper.reset()
    assert 0 < most <= slots


def test_64_windows_of_a_gibibyte_stay_within_the_budget(tmp_path: Path) -> None:
    run_in_child(of_64_windows, "host-window", tmp_path)


def of_64_windows(rig: Rig) -> None:
    file = rig.file(1)
    before = sum(1 for _ in vmas())
    mappers = [rig.open(GIB).mapper for _ in range(64)]
    for mapper in mappers:
        mapper.setup_mapping(file.fd, 0, SLOT, SLOT, writable=False)
    limit = int(Path("/proc/sys/vm/max_map_count").read_text()) // 2
    assert sum(1 for _ in vmas()) - before <= limit
    for mapper in mappers:
        mapper.remove_mapping(SLOT, SLOT)
    assert sum(1 for _ in vmas()) - before <= limit


def faults_of_a_scan(address: int) -> int:
    """How many page faults it takes to read a slot's length of a file without a zero byte."""
    address_, length = ctypes.c_void_p(address), ctypes.c_size_t(SLOT)
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    assert not LIBC.memchr(address_, 0, length)
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before


@contextmanager
def mapped_plainly(file: HostFile, misalignment: int) -> Iterator[int]:
    """The address of a mapping by mmap(2) alone, so far past a multiple of 2 MiB."""
    with mmap.mmap(-1, 3 * SLOT) as room:
        start = ctypes.addressof(ctypes.c_char.from_buffer(room))
        address = start + -start % SLOT + misalignment
        read, shared_and_fixed = mmap.PROT_READ, mmap.MAP_SHARED | MAP_FIXED
        LIBC.mmap(ctypes.c_void_p(address), ctypes.c_size_t(SLOT), read, shared_and_fixed, file.fd, ctypes.c_long(0))
        yield address


def test_a_scan_faults_no_more_than_in_an_aligned_mapping(file: HostFile) -> None:
    """How often that is depends on file system and kernel: what they do for a mapping of one's own is the measure."""
    faults = []
    for misalignment in (PAGE, PAGE, 0):
        with mapped_plainly(file, misalignment) as address:
            faults.append(faults_of_a_scan(address))
    _warm_up, of_unaligned, of_aligned = faults
    backend = HostWindowBackend()
    with DaxMapper(0, SLOT, backend) as mapper:
        assert mapper.host_address is not None
        mapper.setup_mapping(file.fd, 0, 0, SLOT, writable=False)
        ours = faults_of_a_scan(mapper.host_address)
    backend.release()
    assert 0 < ours <= of_aligned <= of_unaligned
