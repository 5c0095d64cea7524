"""Debian's kernels: the image, and those drivers that are modules there."""

import lzma
import re
from dataclasses import dataclass
from pathlib import Path

from linux_guest.cache import made_once
from linux_guest.debian import BACKPORTS, STABLE, Apt, pick
from linux_guest.skipping import SkippedError

RELEASES = {STABLE: (6, 12), BACKPORTS: (7, 1)}
"""Debian's releases, and the least Linux that is wanted of each: from 7.1 on the guest checks every reply."""

DRIVERS = ("virtio_pci", "virtiofs")


@dataclass(frozen=True)
class Kernel:
    """An unpacked kernel."""

    folder: Path

    @property
    def image(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def version(self) -> str:
        """As in `uname -r`."""
        return (self.folder / "version").read_text()

    @property
    def modules(self) -> list[Path]:
        """In the order to load them."""
        return sorted(self.folder.glob("*.ko"))


def get_kernel(apt: Apt, cache: Path, release: str) -> Kernel:
    """The kernel that a release of Debian installs, fetched at the first call."""
    return Kernel(made_once(cache / f"kernel-{release}", lambda folder: _unpack(apt, release, folder)))


def _unpack(apt: Apt, release: str, folder: Path) -> None:
    version = apt.version("linux-image-amd64", release)
    image = next(name for name in apt.depends(f"linux-image-amd64={version}") if re.match(r"linux-image-\d", name))
    name, _, _ = image.partition("=")
    kernel = name.removeprefix("linux-image-")
    number = tuple(int(part) for part in kernel.split(".")[:2])
    if number < RELEASES[release]:
        raise SkippedError(f"Debian's {release} has Linux {kernel}: too old to show what this run is for")
    # Newer packages hold nothing: image, list of built-in drivers and modules are in others, of the same version.
    parts = [image, *(part for part in apt.depends(image) if re.match(rf"linux-\w+-{re.escape(kernel)}(=|$)", part))]
    files = {path: content for deb in apt.fetch_alone(*parts) for path, content in pick(deb, _is_wanted)}
    by_name = {Path(path).name: content for path, content in files.items()}
    (folder / "vmlinuz").write_bytes(next(data for name, data in by_name.items() if name.startswith("vmlinuz")))
    (folder / "version").write_text(kernel)
    built_in = {_driver(line) for line in by_name["modules.builtin"].decode().split()}
    modules = {_driver(name): lzma.decompress(data) for name, data in by_name.items() if name.endswith(".ko.xz")}
    for number_, driver in enumerate(in_order(DRIVERS, modules, built_in)):
        (folder / f"{number_:02}-{driver}.ko").write_bytes(modules[driver])


def in_order(drivers: tuple[str, ...], modules: dict[str, bytes], built_in: set[str]) -> list[str]:
    """The modules that make these drivers work, each after those it depends on."""
    order: list[str] = []
    for driver in drivers:
        if driver not in built_in and driver not in order:
            info = re.search(rb"\0depends=([^\0]*)\0", modules[driver])
            needs = tuple(name.replace("-", "_") for name in (info[1].decode() if info else "").split(",") if name)
            order += [name for name in in_order(needs, modules, built_in) if name not in order]
            order.append(driver)
    return order


def _driver(path: str) -> str:
    return Path(path).name.partition(".ko")[0].replace("-", "_")


def _is_wanted(path: str) -> bool:
    name = Path(path).name
    return name.startswith("vmlinuz") or name == "modules.builtin" or re.search("/(virtio|fuse|dax)/", path) is not None
