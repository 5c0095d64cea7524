"""read and write say what they met: pages past the end of a file, and pages that the host could not supply.

Each scenario runs in a process of its own, which mounts and drops capabilities.
"""

import os
from collections.abc import Callable
from errno import EFAULT, ENOMEM
from functools import partial
from pathlib import Path

import pytest

from support.children import Body, Scenarios, name_of, run_in_child
from support.files import HostFile
from support.host import PAGE
from support.limits import little_memory
from support.rig import Rig, Subject
from support.sandbox import (
    CHECKPOINT_RESTORE,
    SYS_ADMIN,
    drop_capabilities,
    fill,
    mount_ext4,
    mount_tmpfs,
    needs_disk,
    needs_root,
)

scenario, of_a_disk, of_memory = Scenarios(), Scenarios(), Scenarios()

PAST_THE_END = r"past the end of its file, which has 4097 bytes"
NOT_SUPPLIED = r": the host could not supply it \(disk full, quota, I/O error, FUSE server gone\)"
EITHER = r"either .* past the end of its file, or the host could not supply it .* cannot be found out"


def check_fault(message: str, call: Callable[[], object]) -> None:
    with pytest.raises(OSError, match=message) as caught:
        call()
    assert caught.value.errno == EFAULT


def short_file(rig: Rig) -> tuple[Subject, HostFile]:
    """Three pages of a mapping, of which the file's second page is the last."""
    subject, file = rig.open(4 << 20), rig.file(2)
    os.truncate(file.path, PAGE + 1)
    subject.map(file, 0, 3 * PAGE, writable=True)
    return subject, file


def check_end(subject: Subject, message: str) -> None:
    """Check where the file's last page ends, to the byte."""
    mapper = subject.mapper
    assert len(mapper.read(mapper.base, 2 * PAGE)) == 2 * PAGE
    missing = hex(mapper.base + 2 * PAGE)
    check_fault(f"no page at {missing}: .*{message}", lambda: mapper.read(mapper.base + 5, 2 * PAGE))
    check_fault(f"no page at {missing}: .*{message}", lambda: mapper.write(mapper.base + 2 * PAGE - 1, b"ab"))
    within = hex(mapper.base + 3 * PAGE - 2)
    check_fault(f"no page at {within}: .*{message}", lambda: mapper.read(mapper.base + 3 * PAGE - 2, 2))


@scenario
def page_past_the_end_of_its_file(rig: Rig) -> None:
    subject, _ = short_file(rig)
    check_end(subject, PAST_THE_END)


@scenario
def page_past_the_end_of_a_deleted_file(rig: Rig) -> None:
    subject, file = short_file(rig)
    file.path.unlink()
    check_end(subject, PAST_THE_END)


@scenario
def page_past_the_end_of_a_file_that_is_known_by_its_path_alone(rig: Rig) -> None:
    subject, file = short_file(rig)
    drop_capabilities(SYS_ADMIN, CHECKPOINT_RESTORE)
    check_end(subject, PAST_THE_END)
    file.path.rename(file.path.with_name("elsewhere"))
    check_end(subject, PAST_THE_END)


@scenario
def page_of_a_file_whose_length_cannot_be_found_out(rig: Rig) -> None:
    subject, file = short_file(rig)
    drop_capabilities(SYS_ADMIN, CHECKPOINT_RESTORE)
    file.path.unlink()
    check_end(subject, EITHER)
    named_as_the_kernel_names_it = file.path.with_name(f"{file.path.name} (deleted)")
    for other in (file.path, named_as_the_kernel_names_it):
        other.write_bytes(bytes(3 * PAGE))
        check_end(subject, EITHER)
        other.unlink()
        other.symlink_to("/dev/zero")
        check_end(subject, EITHER)


@scenario
def page_for_which_there_is_no_memory(rig: Rig) -> None:
    disk = rig.file().path.with_name("full")
    disk.mkdir()
    mount_tmpfs(disk, 16 * PAGE)
    subject = rig.open(4 << 20)
    with (disk / "sparse").open("w+b") as sparse:
        sparse.truncate(3 * PAGE)
        sparse.write(b"there")
        sparse.flush()
        subject.mapper.setup_mapping(sparse, 0, 0, 4 * PAGE, writable=True)
    fill(disk)
    mapper = subject.mapper
    assert mapper.read(mapper.base, 5) == b"there"
    for offset in (PAGE, 3 * PAGE - 1):
        address = mapper.base + offset
        check_fault(f"{hex(address)}{NOT_SUPPLIED}", partial(mapper.read, address, 1))
        check_fault(f"{hex(address)}{NOT_SUPPLIED}", partial(mapper.write, address, b"x"))
    check_fault("past the end of its file, which has 12288 bytes", lambda: mapper.read(mapper.base + 3 * PAGE, 1))
    mapper.drain_all()


@of_a_disk
def page_for_which_there_is_no_place_on_the_disk(rig: Rig) -> None:
    """It can be read, for zeros, and not be written."""
    memory = rig.file().path.with_name("memory")
    memory.mkdir()
    mount_tmpfs(memory, 64 << 20)
    disk = memory / "disk"
    disk.mkdir()
    mount_ext4(disk, memory / "image", 4 << 20)
    subject = rig.open(4 << 20)
    with (disk / "sparse").open("w+b") as sparse:
        sparse.truncate(2 << 20)
        subject.mapper.setup_mapping(sparse, 0, 0, 2 << 20, writable=True)
    fill(disk)
    mapper = subject.mapper
    assert mapper.read(mapper.base, PAGE) == bytes(PAGE)
    check_fault(f"{hex(mapper.base + 1)}{NOT_SUPPLIED}", lambda: mapper.write(mapper.base + 1, bytes(1 << 20)))
    mapper.drain_all()


@of_memory
def read_of_more_than_there_is_memory(rig: Rig) -> None:
    os.environ["RUST_BACKTRACE"] = "1"
    length = 256 << 20
    subject, file = rig.open(length), rig.file()
    os.truncate(file.path, length)
    subject.map(file, 0, length)
    outcomes = []
    for left in range(length // 2, 3 * length, length // 2):
        with little_memory(left):
            try:
                outcomes.append(len(subject.mapper.read(subject.mapper.base, length)))
            except MemoryError:
                outcomes.append(-1)
            except OSError as error:
                outcomes.append(error.errno or 0)
    assert outcomes == sorted(outcomes, key=[ENOMEM, -1, length].index)
    assert set(outcomes) == {ENOMEM, -1, length}, outcomes


BACKENDS = pytest.mark.parametrize("backend", ["host-window", "kvm", "hypervisor"])


@needs_root
@BACKENDS
@pytest.mark.parametrize("body", scenario, ids=name_of)
def test_page(backend: str, tmp_path: Path, body: Body) -> None:
    run_in_child(body, backend, tmp_path)


@needs_root
@needs_disk
@BACKENDS
@pytest.mark.parametrize("body", of_a_disk, ids=name_of)
def test_disk(backend: str, tmp_path: Path, body: Body) -> None:
    run_in_child(body, backend, tmp_path)


@BACKENDS
@pytest.mark.parametrize("body", of_memory, ids=name_of)
def test_memory(backend: str, tmp_path: Path, body: Body) -> None:
    run_in_child(body, backend, tmp_path)
