"""Debian packages, fetched and unpacked in a folder: nothing is installed, and nobody needs to be root.

apt works with lists, sources and a cache of its own, and with an empty list of what is installed. So it fetches a
program with all that it needs, down to the C library, whatever this machine has.
"""

import re
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from debian_packages.skipping import SkippedError, need_program

KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
STABLE, BACKPORTS = "trixie", "trixie-backports"
_DEFAULT_MIRROR = "http://deb.debian.org/debian/"
_LIMIT = 240  # seconds for one command of apt: a connection that stands still ends earlier
_CONF = """\
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
Dir::Etc::SourceList "{work}/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State "{work}";
Dir::State::status "{work}/status";
Dir::Cache "{work}";
Dir::Cache::pkgcache "pkgcache.bin";
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Install-Recommends "false";
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::http::Timeout "20";
Acquire::Retries "1";
"""


class Apt:
    """apt in a folder of its own, for one architecture and the releases that it is to choose from."""

    def __init__(self, work: Path, architecture: str = "amd64", releases: Sequence[str] = (STABLE, BACKPORTS)) -> None:
        self._work = work
        self._architecture = architecture
        self._releases = releases
        self._archives = work / "archives"
        self._updated = False

    def clean(self) -> None:
        """Remove the packages that were fetched: what they hold has been unpacked."""
        for package in self._archives.glob("*.deb"):
            package.unlink()

    def fetch(self, *packages: str, release: str) -> list[Path]:
        """Packages with all they depend on."""
        self._archives.mkdir(parents=True, exist_ok=True)
        self.clean()
        self._run("apt-get", "install", "--download-only", "--yes", "--target-release", release, *packages)
        return sorted(self._archives.glob("*.deb"))

    def fetch_alone(self, *packages: str) -> list[Path]:
        """Packages without what they depend on; each may be `name=version`."""
        self._archives.mkdir(parents=True, exist_ok=True)
        self.clean()
        self._run("apt-get", "download", *packages, cwd=self._archives)
        return sorted(self._archives.glob("*.deb"))

    def version(self, package: str, release: str) -> str:
        """The version that a release has."""
        for line in self._run("apt-cache", "madison", package).splitlines():
            _, version, origin = (field.strip() for field in line.split("|"))
            if f" {release}/" in origin:
                return version
        raise SkippedError(f"Debian's {release} has no package {package}")

    def depends(self, package: str) -> list[str]:
        """What a package, perhaps `name=version`, depends on: `name=version` where it wants exactly that one."""
        found = re.search("^Depends: (.*)", self._run("apt-cache", "show", package), re.MULTILINE)
        alternatives = [] if found is None else [part.split("|")[0] for part in found[1].split(",")]
        return [re.sub(r" *\(= *([^)]*)\)", r"=\1", part).split("(")[0].strip() for part in alternatives]

    def _run(self, command: str, *arguments: str, cwd: Path | None = None) -> str:
        if not self._updated:
            self._set_up()
        return _run(command, "-c", f"{self._work}/apt.conf", "-q", *arguments, cwd=cwd)

    def _set_up(self) -> None:
        need_program("apt-get", "which fetches Debian's packages", "apt, on a Debian system")
        need_program("dpkg-deb", "which unpacks them", "dpkg, on a Debian system")
        if not KEYS.exists():
            raise SkippedError(f"no {KEYS}, which tells genuine packages (apt install debian-archive-keyring)")
        for folder in ("lists/partial", "archives/partial"):
            (self._work / folder).mkdir(parents=True, exist_ok=True)
        (self._work / "status").touch()
        (self._work / "apt.conf").write_text(_CONF.format(work=self._work, architecture=self._architecture))
        mirror = _mirror()
        lines = [f"deb [signed-by={KEYS}] {mirror} {release} main\n" for release in self._releases]
        (self._work / "sources.list").write_text("".join(lines))
        _run("apt-get", "-c", f"{self._work}/apt.conf", "-q", "--error-on=any", "update")
        self._updated = True


def unpack(packages: list[Path], tree: Path) -> None:
    """The files of packages, in one tree. Their scripts are not run."""
    for package in packages:
        _run("dpkg-deb", "--extract", str(package), str(tree))


def pick(package: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Some files of a package, by path: kernels have thousands that nobody wants unpacked."""
    command = [need_program("dpkg-deb", "which unpacks packages", "dpkg"), "--fsys-tarfile", str(package)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as process,
        tarfile.open(fileobj=process.stdout, mode="r|") as archive,
    ):
        for member in archive:
            stream = archive.extractfile(member) if member.isfile() and wanted(member.name) else None
            if stream is not None:
                yield member.name, stream.read()


def _mirror() -> str:
    """The mirror that this system uses, if it is one of Debian's."""
    uris = _run("apt-get", "indextargets", "--format", "$(REPO_URI)").splitlines()
    return next((uri for uri in uris if uri.endswith("/debian/")), _DEFAULT_MIRROR)


def _run(*command: str, cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LIMIT, cwd=cwd)
    except subprocess.TimeoutExpired:
        raise SkippedError(f"{' '.join(command)} took more than {_LIMIT} s") from None
    if done.returncode != 0:
        why = [line for line in done.stderr.splitlines() if line.startswith("E:")] or done.stderr.splitlines() or ["?"]
        raise SkippedError(f"{command[0]} {command[-1]}: {why[0]}")
    return done.stdout
