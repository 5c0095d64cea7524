"""All that the host has in a directory, to see that a guest changed nothing of it."""

import hashlib
import os
import stat
from pathlib import Path

Found = dict[str, tuple[object, ...]]


def tree(directory: Path, *, times: bool = True) -> Found:
    """Each file by its path: content, mode, owner, links, extended attributes, and times but for that of reading."""
    found = {".": _look(directory, times=times)}
    for path in sorted(directory.rglob("*")):
        found[str(path.relative_to(directory))] = _look(path, times=times)
    return found


def read_times(paths: list[Path]) -> dict[Path, int]:
    """When each file was read last, as far as its file system keeps that."""
    return {path: path.lstat().st_atime_ns for path in paths}


def _look(path: Path, *, times: bool) -> tuple[object, ...]:
    status = path.lstat()
    content: object = None
    if stat.S_ISREG(status.st_mode):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            content = hashlib.sha256(os.read(descriptor, status.st_size)).hexdigest()
        finally:
            os.close(descriptor)
    elif stat.S_ISLNK(status.st_mode):
        content = path.readlink()
    names = os.listxattr(path, follow_symlinks=False)
    attributes = tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in sorted(names))
    when = (status.st_mtime_ns, status.st_ctime_ns) if times else ()
    return content, status.st_mode, status.st_uid, status.st_gid, status.st_nlink, status.st_size, attributes, *when
