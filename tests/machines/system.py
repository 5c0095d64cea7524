"""Debian in a machine: packages unpacked, not installed, and the Python packages that tests want, as one archive."""

import shutil
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

from debian_packages.apt import Apt, unpack
from debian_packages.cache import made_once
from debian_packages.skipping import SkippedError
from emulation.cpio import Entry, folder_entry, program_entry, tree_entries, write_archive
from machines.kinds import Kind
from support.paths import PROJECT

HERE = Path(__file__).parent
_PACKAGES = ("python3", "busybox-static", "bash", "gcc", "libc6-dev", "coreutils", "util-linux", "procps")
_TOOLS = frozenset(
    {"hypothesis", "pytest", "pytest-benchmark", "pytest-timeout", "pytest-xdist", "cffi", "unicorn", "shtab"}
)
# A third of all bytes, of which no test reads one.
_LEFT_OUT = (
    *("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/i18n", "usr/share/bug"),
    *("usr/share/lintian", "usr/share/perl5", "usr/share/zoneinfo", "usr/share/bash-completion"),
    *("usr/lib/*/gconv", "usr/lib/*/perl*", "usr/lib/gcc/*/*/lto*", "usr/lib/*/*san.so*"),
    *("usr/libexec/gcc/*/*/lto*", "usr/libexec/gcc/*/*/g++*"),
)
_MERGED = ("bin", "sbin", "lib", "lib64")
"""What has become a part of /usr: programs still look for each other, and for the loader, there."""
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/hosts": "127.0.0.1 localhost\n",
}


def get_system(apt: Apt, cache: Path, kind: Kind) -> Path:
    """The archive, made at the first call."""
    made = made_once(cache / f"system-{kind.architecture}", lambda folder: _make(apt, kind, folder))
    return made / "system.cpio"


def _make(apt: Apt, kind: Kind, folder: Path) -> None:
    root = folder / "root"
    unpack(apt.fetch(*_PACKAGES, release=kind.release), root)
    for pattern in _LEFT_OUT:
        for path in root.glob(pattern):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for name in _MERGED:
        _merge(root, name)
    for name, text in _FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    _link(root / "usr/bin/cc", "gcc")
    install(root, kind, *_requirements(kind))
    with (folder / "system.cpio").open("wb") as archive:
        write_archive(
            archive,
            (
                *(folder_entry(name) for name in ("dev", "proc", "sys", "tmp", "run", "root")),
                # The kernel opens it for the first process.
                Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)),
                program_entry("init", HERE / "init.sh"),
                *tree_entries(root),
            ),
        )
    shutil.rmtree(root)


def _merge(root: Path, name: str) -> None:
    """Have a folder lie in /usr, with a link to it."""
    old, new = root / name, root / "usr" / name
    new.mkdir(parents=True, exist_ok=True)
    if old.is_dir() and not old.is_symlink():
        shutil.copytree(old, new, symlinks=True, dirs_exist_ok=True)
        shutil.rmtree(old)
    _link(old, f"usr/{name}")


def _link(link: Path, target: str) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def _requirements(kind: Kind) -> list[str]:
    """Those of the project's own list that run tests."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    names = _TOOLS - kind.without
    return [line for line in project["optional-dependencies"]["dev"] if line.partition(">=")[0] in names]


def install(root: Path, kind: Kind, *requirements: str) -> Path:
    """Put Python packages, from wheels for the machine, to where its Python looks for them; returns that folder."""
    site = root / f"usr/local/lib/python{kind.python}/dist-packages"
    tags = [word for tag in kind.wheel_tags for word in ("--platform", tag)]
    where = ["--target", str(site), "--python-version", kind.python, "--only-binary=:all:", *tags]
    command = [sys.executable, "-m", "pip", "install", "--quiet", *where, *requirements]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SkippedError(f"pip: {done.stderr.strip().splitlines()[-1]}")
    return site
