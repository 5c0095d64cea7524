"""Opening an inode that the VMM holds by an O_PATH descriptor."""

import errno
import io
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

__all__ = ["reopen"]


def reopen(path_fd: "FileDescriptorLike", writable: bool) -> io.FileIO:  # noqa: FBT001
    """Open the regular file that an O_PATH descriptor stands for, whatever its path leads to by now.

    Opened through /proc/self/fd (Linux, proc(5)), which leads to the inode itself: nobody who renames or replaces files
    can make this another file, and nothing but a regular file is opened, so that it never blocks. Made for
    `DaxDispatcher`'s resolver, which may return it as it is. Thread-safe.

    Args:
        path_fd: A descriptor of the file, O_PATH (open(2)) or other: an int or an object with `fileno()`.
        writable: Open for reading and writing, else for reading.

    Returns:
        The file, unbuffered; it is the caller's to close.

    Raises:
        OSError: EBADF (`path_fd` is not open), ENODEV (not a regular file, as mmap(2) says), ESTALE (`path_fd` became
            another file's during the call), and what open(2) says: EACCES, EROFS, ETXTBSY and the like.
    """
    number = path_fd if isinstance(path_fd, int) else path_fd.fileno()
    wanted = os.fstat(number)
    if not stat.S_ISREG(wanted.st_mode):
        raise OSError(errno.ENODEV, f"fd {number} is not a regular file's")
    file = io.FileIO(f"/proc/self/fd/{number}", "r+" if writable else "r", opener=_open)
    if os.path.samestat(wanted, os.fstat(file.fileno())):
        return file
    file.close()
    raise OSError(errno.ESTALE, f"fd {number} became another file's")


def _open(path: str, flags: int) -> int:
    """Opens what may have become a FIFO or a terminal since it was looked at."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
