"""What a guest's kernel can do, by its config."""

import gzip
from errno import EISDIR, ENOENT
from pathlib import Path

import pytest

from daxmap.doctor.kernel_config import KernelConfigError, facts, read

NEEDED = (
    "CONFIG_FUSE_DAX",
    "CONFIG_FS_DAX",
    "CONFIG_DAX",
    "CONFIG_ZONE_DEVICE",
    "CONFIG_VIRTIO_FS",
    "CONFIG_FUSE_FS",
    "CONFIG_VIRTIO_PCI",
)
GOOD = dict.fromkeys(NEEDED, "y") | {"CONFIG_VIRTIO_FS": "m", "CONFIG_FUSE_FS": "m"}
TEXT = "#\n# Linux/x86 6.12.0 Kernel Configuration\n#\n" + "".join(f"{name}={value}\n" for name, value in GOOD.items())


def put(directory: Path, content: str | bytes) -> Path:
    path = directory / "config"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def states(config: dict[str, str]) -> dict[str, str]:
    return {fact.name: fact.state for fact in facts(config)}


@pytest.mark.parametrize("content", [TEXT, gzip.compress(TEXT.encode()), TEXT.replace("\n", "\r\n")])
def test_config_is_read_as_it_comes(tmp_path: Path, content: str | bytes) -> None:
    assert read(put(tmp_path, content)) == GOOD
    assert states(GOOD) == dict.fromkeys(NEEDED, "ok")


def test_option_that_is_not_set_is_none(tmp_path: Path) -> None:
    text = TEXT.replace("CONFIG_FUSE_DAX=y", "# CONFIG_FUSE_DAX is not set")
    text += 'CONFIG_LOCALVERSION="-CONFIG_FUSE_DAX=y"\nCONFIG_FUSE_DAX_OTHER=y\n'
    assert "CONFIG_FUSE_DAX" not in read(put(tmp_path, text))


@pytest.mark.parametrize("missing", NEEDED)
@pytest.mark.parametrize("value", [None, "n"])
def test_each_option_is_needed(missing: str, value: str | None) -> None:
    config = {name: value for name, value in GOOD.items() if name != missing}
    if value is not None:
        config[missing] = value
    assert states(config) == dict.fromkeys(NEEDED, "ok") | {missing: "fail"}
    (fact,) = (fact for fact in facts(config) if fact.state == "fail")
    assert f"{missing}=y" in (fact.remedy or "")


def test_what_a_guest_without_dax_does_is_told() -> None:
    (fact,) = (fact for fact in facts(GOOD | {"CONFIG_FUSE_DAX": "n"}) if fact.state == "fail")
    assert "EINVAL" in fact.detail
    assert "nobody is told" in fact.detail


def test_virtio_mmio_takes_the_place_of_pci() -> None:
    config = GOOD | {"CONFIG_VIRTIO_PCI": "n", "CONFIG_VIRTIO_MMIO": "y"}
    assert states(config) == dict.fromkeys(NEEDED, "ok") | {"CONFIG_VIRTIO_PCI": "warn"}


PACKED = gzip.compress(TEXT.encode())


@pytest.mark.parametrize(
    "content",
    [
        "",
        "hello\n",
        b"\x7fELF\x00\xff",
        PACKED[:30],
        PACKED[:-8] + bytes(8),
        PACKED[:10] + b"\xff" * 20,
        gzip.compress(b"hello"),
    ],
    ids=["empty", "text", "binary", "cut", "checksum", "garbage", "packed-text"],
)
def test_file_that_is_no_config(tmp_path: Path, content: str | bytes) -> None:
    with pytest.raises(KernelConfigError, match=r"CONFIG_|damaged"):
        read(put(tmp_path, content))


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path, errno in ((tmp_path / "nowhere", ENOENT), (tmp_path, EISDIR)):
        with pytest.raises(OSError, match=str(path)) as caught:
            read(path)
        assert caught.value.errno == errno


def test_file_without_end_is_no_config() -> None:
    with pytest.raises(KernelConfigError, match="CONFIG_"):
        read(Path("/dev/zero"))
