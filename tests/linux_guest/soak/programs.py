"""The programs of this soak, which are in C: the guest's worker, and what QEMU is preloaded with."""

from pathlib import Path

from linux_guest.initramfs import STATIC, build_program

_HERE = Path(__file__).parent


def build_worker(folder: Path) -> Path:
    """What the guest runs, some at a time."""
    return build_program(folder / "worker", sorted((_HERE / "worker").glob("*.c")), STATIC)


def build_gone_pages(folder: Path) -> Path:
    """What keeps QEMU alive where a page of a file is gone."""
    return build_program(folder / "gone_pages.so", [_HERE / "gone_pages.c"], ("-shared", "-fPIC"))
