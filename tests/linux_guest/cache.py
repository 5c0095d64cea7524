"""What is set up once and kept."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


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


def clear_interrupted(folder: Path) -> None:
    """Remove what set-ups left that were killed."""
    for rest in folder.glob("*.making.*"):
        shutil.rmtree(rest)
