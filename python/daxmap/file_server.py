"""A share as a virtiofs device serves it: every FUSE request of one directory, with DAX."""

import os
from typing import Literal, Self

from daxmap._core import DaxMapper, _FileServer
from daxmap.checks import check_choice, check_type
from daxmap.config import DAX_POLICIES, min_size_in_bytes
from daxmap.status import DaxStatus, status_of

__all__ = ["FileServer"]


class FileServer(_FileServer):
    """Answers every FUSE request of one directory, from bytes to bytes. Linux 5.6 or later.

    SETUPMAPPING and REMOVEMAPPING go to the mapper; no Python code runs on their way, nor on any other request's. Every
    method may be called from many threads, and releases the interpreter.

    A guest sees nothing outside the directory: no `..`, no symbolic link is followed on the host, nothing that is
    mounted below. What it sees is the directory that was there when the server was made, wherever the host moves it.
    Device nodes can't be made. File locks, POSIX ACLs and a write-back cache are not offered:
    docs/how-to/file-server.md lists what is.

    Files are made by a thread of the server's own, so that neither the umask nor the user of any other thread changes.

    Args:
        directory: What the guest sees as the root of its mount.
        mapper: The share's mapper. None: the guest is offered no DAX.
        readonly: Refuse with EROFS whatever would change a file. None: as the mapper does. Mapper and share are both
            read-only, or neither is.
        dax: Which files the guest is to map: "always" all, "inode" those that are marked (FUSE_ATTR_DAX), "never" none.
        min_size: With "inode": files of fewer bytes are not marked. An int, or a string such as "64KiB". None: 2 MiB,
            what a Linux guest takes of its window for every file, however small.
        owner: Whose the files are that a guest makes. "host": the server's own, whatever user of the guest made them;
            then chown fails with EPERM, set-user-id bits are dropped, and no privileges are needed. "guest": the
            guest's users', by number; the process needs CAP_SETUID, CAP_SETGID, CAP_CHOWN, CAP_DAC_OVERRIDE and
            CAP_FOWNER, as root has.
        cache: How long the guest may believe names, attributes and what it has read: "auto" a second, and data until
            the file is opened again; "always" a day, where nobody else changes the directory; "never" not at all.
        max_open: The most descriptors that the server keeps, 64 or more; a half of them for files that the guest has
            open (ENFILE beyond), a half for inodes and mapped files, which are opened again when needed. Default: half
            of RLIMIT_NOFILE.

    Raises:
        TypeError: An argument is of another type.
        ValueError: `dax`, `owner` or `cache` is none of its values, `min_size` is no size below 2**64, or given without
            "inode", `max_open` is under 64, or only one of share and mapper is read-only.
        OSError: ENOENT, ENOTDIR, EACCES and the like of the directory; EPERM for owner="guest" without the
            right to act as other users; ENOTSUP where there is no Linux.
    """

    _dax: Literal["always", "inode", "never"]

    def __new__(  # noqa: PLR0913  # one for each switch of a share
        cls,
        directory: str | os.PathLike[str],
        *,
        mapper: DaxMapper | None = None,
        readonly: bool | None = None,
        dax: Literal["always", "inode", "never"] = "always",
        min_size: int | str | None = None,
        owner: Literal["guest", "host"] = "host",
        cache: Literal["auto", "always", "never"] = "auto",
        max_open: int | None = None,
    ) -> Self:
        """Check the arguments and make the server: see the class."""
        if mapper is not None:
            check_type("mapper", mapper, DaxMapper)
        if readonly is None:
            readonly = mapper is not None and mapper.readonly
        check_type("readonly", readonly, bool)
        if mapper is not None and readonly != mapper.readonly:
            share, window = ("a read-only", "a writable") if readonly else ("a writable", "a read-only")
            raise ValueError(f"readonly: {share} share can't have {window} mapper")
        check_choice("dax", dax, DAX_POLICIES)
        check_choice("owner", owner, ("guest", "host"))
        check_choice("cache", cache, ("auto", "always", "never"))
        least = min_size_in_bytes(dax, min_size)
        if max_open is not None:
            check_type("max_open", max_open, int)
        self = super().__new__(cls, directory, mapper, readonly, dax, least, owner, cache, max_open)
        self._dax = dax
        return self

    def status(self) -> DaxStatus:
        """Whether the guest really uses DAX. Takes no lock but the mapper's own for its length."""
        return status_of(self.mapper, self._dax, self)
