"""overlayfs: the first open for writing copies a file up, and mappings made before go on showing the lower file."""

import os
from pathlib import Path

import pytest

from support.children import run_in_child
from support.host import PAGE
from support.mounts import mount_overlay, skip_without_mounts, unshare_mounts
from support.rig import Rig


def test_refresh_shows_the_file_that_was_copied_up(rig_name: str, tmp_path: Path) -> None:
    skip_without_mounts()
    run_in_child(copied_up, rig_name, tmp_path)


@pytest.fixture(params=["host-window", "kvm", "hypervisor", "python-backend"])
def rig_name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def copied_up(rig: Rig) -> None:
    unshare_mounts()
    merged = mount_overlay(rig.file().path.parent / "overlay", {"file": b"old " * (PAGE // 4)})
    reader = os.open(merged / "file", os.O_RDONLY)
    subject = rig.open()
    mapper = subject.mapper
    mapper.setup_mapping(reader, 0, 0, 4 * PAGE, writable=False)
    mapper.setup_mapping(reader, 0, 8 * PAGE, PAGE, writable=False)
    writer = os.open(merged / "file", os.O_RDWR)
    os.pwrite(writer, b"new " * (2 * PAGE // 4), 0)
    assert os.fstat(reader).st_ino == os.fstat(writer).st_ino, "for the guest it is the same file"
    assert rig.peek(mapper, 0, 4) == b"old ", "the lower file, for ever"
    assert rig.peek(mapper, PAGE, 4) is None
    assert mapper.refresh(writer) == 2
    assert rig.peek(mapper, 0, 4) == rig.peek(mapper, PAGE, 4) == rig.peek(mapper, 8 * PAGE, 4) == b"new "
    os.pwrite(writer, b"more", 2 * PAGE)
    assert rig.peek(mapper, 2 * PAGE, 4) == b"more", "what is appended comes"
    mapper.remove_range(PAGE, PAGE)
    assert rig.peek(mapper, 2 * PAGE, 4) == b"more", "and a piece shows what the whole showed"
    mapper.reset()
    os.close(reader)
    os.close(writer)
