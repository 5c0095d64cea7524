"""Whether a guest's kernel can do DAX, by its config.

What depends on what is said by fs/fuse/Kconfig, fs/Kconfig and drivers/virtio/Kconfig of Linux, and what a kernel
without CONFIG_FUSE_DAX does by virtio_fs_setup_dax and virtio_fs_fill_super in its fs/fuse/virtio_fs.c.
"""

import gzip
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from daxmap.doctor.fact import Fact, fail, ok, warn

__all__ = ["KernelConfigError", "facts", "read"]

_MOST = 16 << 20  # bytes; a config has some hundred thousand
_LINE = re.compile(r"(?P<name>CONFIG_\w+)=(?P<value>.*)|# CONFIG_\w+ is not set")
_GZIP = b"\x1f\x8b"
_NO_DAX = "`mount -o dax` fails with EINVAL, and other mounts are without DAX, which nobody is told"
_NO_VIRTIOFS = "`mount -t virtiofs` fails with ENODEV"
_NEEDED = {
    "CONFIG_FUSE_DAX": _NO_DAX,
    "CONFIG_FS_DAX": f"without it there is no CONFIG_FUSE_DAX: {_NO_DAX}",
    "CONFIG_DAX": f"without it there is no CONFIG_FUSE_DAX: {_NO_DAX}",
    "CONFIG_ZONE_DEVICE": f"without it there is no CONFIG_FS_DAX: {_NO_DAX}",
    "CONFIG_VIRTIO_FS": _NO_VIRTIOFS,
    "CONFIG_FUSE_FS": f"without it there is no CONFIG_VIRTIO_FS: {_NO_VIRTIOFS}",
}
_PCI, _MMIO = "CONFIG_VIRTIO_PCI", "CONFIG_VIRTIO_MMIO"


class KernelConfigError(Exception):
    """A file is no kernel config."""


def read(path: Path) -> dict[str, str]:
    """The options that are set, with their values.

    Args:
        path: a `.config`, as text or as in /proc/config.gz.

    Raises:
        OSError: it cannot be read.
        KernelConfigError: it is something else.
    """
    try:
        with path.open("rb") as file:
            packed = file.peek(len(_GZIP)).startswith(_GZIP)
            content = gzip.GzipFile(fileobj=file).read(_MOST) if packed else file.read(_MOST)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise KernelConfigError(f"its compressed data are damaged: {error}") from error
    lines = [match for line in content.decode(errors="replace").splitlines() if (match := _LINE.fullmatch(line))]
    if not lines:
        raise KernelConfigError("is no kernel config: no line of it is CONFIG_...= or '# CONFIG_... is not set'")
    return {line["name"]: line["value"] for line in lines if line["name"]}


def facts(config: Mapping[str, str]) -> Iterator[Fact]:
    """What a guest with this kernel can do.

    Args:
        config: the options that are set, with their values.
    """
    for name, consequence in _NEEDED.items():
        if _has(config, name):
            yield ok(name, config[name])
        else:
            yield fail(name, f"is not set: {consequence}", f"build the guest's kernel with {name}=y")
    if _has(config, _PCI):
        yield ok(_PCI, config[_PCI])
    elif _has(config, _MMIO):
        detail = f"is not set, {_MMIO} is: the device must be on virtio-mmio, and QEMU's for `daxmap serve` is on PCI"
        yield warn(_PCI, detail, f"build the guest's kernel with {_PCI}=y, unless the VMM has no PCI")
    else:
        yield fail(_PCI, "is not set: the guest does not find the device", f"build the guest's kernel with {_PCI}=y")


def _has(config: Mapping[str, str], name: str) -> bool:
    return config.get(name) in {"y", "m"}
