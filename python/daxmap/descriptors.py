"""Opening an inode that the VMM holds by an O_PATH descriptor."""

import contextlib
import errno
import io
import os
import stat
from typing import TYPE_CHECKING

from daxmap.checks import check_type

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

__all__ = ["keep_descriptors", "reopen"]

_DIRECTORY = "/proc/self/fd"

_kept: dict[str, int] = {}
"""A descriptor of that directory, once it was needed."""


def keep_descriptors() -> None:
    """Open what `reopen` goes through, if it can be opened, so that it is there when /proc is not any more."""
    with contextlib.suppress(OSError):
        _directory()


def _directory() -> int:
    kept = _kept.get(_DIRECTORY)
    if kept is None:
        try:
            fresh = os.open(_DIRECTORY, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            reason = f"{_DIRECTORY} cannot be opened, is /proc not mounted here? {error.strerror}"
            raise OSError(error.errno, reason) from error
        kept = _kept.setdefault(_DIRECTORY, fresh)
        if kept != fresh:
            os.close(fresh)  # another thread was quicker
    return kept


def _number(path_fd: "FileDescriptorLike") -> int:
    if isinstance(path_fd, int):
        return path_fd
    fileno = getattr(path_fd, "fileno", None)
    if fileno is None:
        kind = type(path_fd).__name__
        raise TypeError(f"path_fd: a file descriptor is an int or has fileno(), not {kind!r}: open the file first")
    number: int = fileno()
    return number


os.register_at_fork(after_in_child=_kept.clear)  # a child's copy leads to its parent's descriptors


def reopen(
    path_fd: "FileDescriptorLike",
    writable: bool,  # noqa: FBT001  # by position, as resolvers get it
) -> io.FileIO:
    """Open the regular file that an O_PATH descriptor stands for, whatever its path leads to by now.

    Opened through /proc/self/fd (Linux, proc(5)), which leads to the inode itself: nobody who renames or replaces files
    can make this another file, and nothing but a regular file is opened, so that it never blocks. Made for
    `DaxDispatcher`'s resolver, which may return it as it is. Thread-safe.

    Where /proc goes away later (chroot(2), a mount namespace), it works on: that directory is kept open from the first
    call in a process on, or from when its first `DaxDispatcher` was made. A forked child opens one of its own.

    Args:
        path_fd: A descriptor of the file, O_PATH (open(2)) or other: an int or an object with `fileno()`.
        writable: Open for reading and writing, else for reading.

    Returns:
        The file, unbuffered; it is the caller's to close.

    Raises:
        TypeError: `path_fd` is no descriptor: a path, say; or `writable` is no bool.
        OSError: EBADF (`path_fd` is not open), ENODEV (not a regular file, as mmap(2) says), ESTALE (`path_fd` became
            another file's during the call), and what open(2) says: of the file EACCES, EROFS, ETXTBSY and the like; of
            /proc/self/fd itself, which the message then names, ENOENT where no /proc is mounted.
    """
    check_type("writable", writable, bool)
    number = _number(path_fd)
    try:
        wanted = os.fstat(number)
    except OSError as error:
        raise OSError(error.errno, f"path_fd: fd {number}: {error.strerror}") from None
    if not stat.S_ISREG(wanted.st_mode):
        raise OSError(errno.ENODEV, f"fd {number} is not a regular file's")
    directory = _directory()

    def open_in_directory(path: str, flags: int) -> int:
        # Not blocked by what may have become a FIFO or a terminal since it was looked at.
        flags |= os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            return os.open(str(number), flags, dir_fd=directory)
        except OSError as error:
            error.filename = path
            raise

    file = io.FileIO(f"{_DIRECTORY}/{number}", "r+" if writable else "r", opener=open_in_directory)
    if os.path.samestat(wanted, os.fstat(file.fileno())):
        return file
    file.close()
    raise OSError(errno.ESTALE, f"fd {number} became another file's")
