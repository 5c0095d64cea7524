"""Debian's kernels: the image, and those drivers that are modules there and not built in."""

import lzma
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from debian_packages.apt import Apt, pick
from debian_packages.cache import made_once

_XZ = b"\xfd7zXZ\0"


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
    def modules(self) -> Path:
        """A folder of drivers, named in the order in which to load them."""
        return self.folder / "modules"


def get_kernel(apt: Apt, cache: Path, package: str, release: str, drivers: Sequence[str]) -> Kernel:
    """The kernel that a package of a release stands for, `linux-image-amd64` say, with some drivers."""
    name = "-".join((package, release, *drivers))
    made = made_once(cache / name, lambda folder: _unpack(apt, package, release, drivers, folder))
    return Kernel(made)


def _unpack(apt: Apt, package: str, release: str, drivers: Sequence[str], folder: Path) -> None:
    version = apt.version(package, release)
    image = next(name for name in apt.depends(f"{package}={version}") if re.match(r"linux-image-\d", name))
    name, _, _ = image.partition("=")
    kernel = name.removeprefix("linux-image-")
    # Newer packages hold nothing: image, list of built-in drivers and modules are in others, of the same version.
    parts = [image, *(part for part in apt.depends(image) if re.match(rf"linux-\w+-{re.escape(kernel)}(=|$)", part))]
    files = {path: content for deb in apt.fetch_alone(*parts) for path, content in pick(deb, _is_wanted)}
    by_name = {Path(path).name: content for path, content in files.items()}
    (folder / "vmlinuz").write_bytes(next(data for name, data in by_name.items() if name.startswith("vmlinu")))
    (folder / "version").write_text(kernel)
    built_in = {_driver(line) for line in by_name["modules.builtin"].decode().split()}
    (folder / "modules").mkdir()
    modules = Modules({_driver(name): data for name, data in by_name.items() if ".ko" in name}, built_in)
    for number, driver in enumerate(modules.in_order(drivers)):
        (folder / "modules" / f"{number:02}-{driver}.ko").write_bytes(modules[driver])


@dataclass(frozen=True)
class Modules:
    """What a kernel can load, and what it has built in."""

    files: dict[str, bytes]
    built_in: set[str]

    def __getitem__(self, driver: str) -> bytes:
        data = self.files[driver]
        return lzma.decompress(data) if data.startswith(_XZ) else data

    def in_order(self, drivers: Sequence[str]) -> list[str]:
        """The modules that make these drivers work, each after those it depends on."""
        order: list[str] = []
        for driver in drivers:
            if driver not in self.built_in and driver not in order:
                info = re.search(rb"\0depends=([^\0]*)\0", self[driver])
                needs = [name.replace("-", "_") for name in (info[1].decode() if info else "").split(",") if name]
                order += [name for name in self.in_order(needs) if name not in order]
                order.append(driver)
        return order


def _driver(path: str) -> str:
    return Path(path).name.partition(".ko")[0].replace("-", "_")


def _is_wanted(path: str) -> bool:
    name = Path(path).name
    return name.startswith("vmlinu") or name == "modules.builtin" or ".ko" in name
