"""Which files are one file: those of equal device and inode number, and no others."""

from contextlib import ExitStack
from errno import EEXIST
from pathlib import Path

from support.children import run_in_child
from support.files import HostFile
from support.host import PAGE
from support.mounts import mount, skip_without_mounts, unshare_mounts
from support.rig import Rig


def test_equal_inode_numbers_of_two_devices_are_two_files(window_backend: str, tmp_path: Path) -> None:
    skip_without_mounts()
    run_in_child(equal_inode_numbers_of_two_devices, window_backend, tmp_path)


def equal_inode_numbers_of_two_devices(rig: Rig) -> None:
    """Each instance of tmpfs numbers its inodes from the start."""
    unshare_mounts()
    with ExitStack() as stack:
        files = []
        for name in ("one", "another"):
            (directory := rig.file().path.parent / name).mkdir()
            mount("tmpfs", directory)
            files.append(HostFile(directory / "file", 2))
            stack.callback(files[-1].close)
        file, other = files
        assert file.inode == other.inode
        assert file.device != other.device
        subject = rig.open()
        subject.map(file, 0)
        for writable in (False, True):
            with subject.refused(EEXIST):
                subject.mapper.setup_mapping(other.fd, 0, 0, PAGE, writable)
        assert subject.mapper.stats().upgrade_count == 0
        subject.map(file, 0, writable=True)
        assert subject.mapper.stats().upgrade_count == 1
        subject.map(other, PAGE)
        subject.agree()
        subject.mapper.reset()
        subject.model.clear()
