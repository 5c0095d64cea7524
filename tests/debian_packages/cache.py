"""What is set up once and kept."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

from support.paths import PROJECT

CACHE = PROJECT / "target" / "emulation"
"""What is kept from run to run."""


def made_once(target: Path, make: Callable[[Path], None]) -> Path:
    """A folder that `make` fills. It gets its name when it is complete: one that was interrupted is made again."""
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix=f"{target.name}.making.", dir=target.parent))
        try:
            make(making)
            making.rename(target)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return target


@contextmanager
def run_folder(cache: Path) -> Iterator[Path]:
    """A folder for one run, which is the only one meanwhile: others wait. What killed runs have left is removed."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        try:
            flock(lock, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            print(f"Another run is at work in {cache}: waiting for its end.", flush=True)
            flock(lock, LOCK_EX)
        for rest in [*cache.glob("*.making.*"), *cache.glob("run.*")]:
            shutil.rmtree(rest)
        with tempfile.TemporaryDirectory(prefix="run.", dir=cache) as name:
            yield Path(name)
