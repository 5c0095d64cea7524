"""A mapper's mappings as plain data, for a snapshot of the guest: `DaxMapper.export_state` and `restore_state`."""

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from daxmap._core import DaxMapper, MappingInfo
from daxmap.checks import check_callable, check_int

if TYPE_CHECKING:
    from daxmap.protocols import Opener, OpenFile

__all__ = ["export_state", "restore_state"]

_VERSION = 1
_FIELDS = MappingInfo.__match_args__


def export_state(mapper: DaxMapper) -> dict[str, Any]:
    """See `DaxMapper.export_state`."""
    _check_open(mapper)
    mappings = [{name: getattr(mapping, name) for name in _FIELDS} for mapping in mapper]
    return {"version": _VERSION, "base": mapper.base, "size": mapper.size, "mappings": mappings}


def restore_state(mapper: DaxMapper, data: Mapping[str, Any], opener: "Opener") -> None:
    """See `DaxMapper.restore_state`."""
    check_callable("opener", opener, "dev", "ino", "writable")
    files = _by_file(_checked(data, mapper))
    _check_open(mapper)
    if mapper.readonly and any(mapping.writable for mappings in files.values() for mapping in mappings):
        raise _error(mapper, errno.EROFS, "a mapping of the state is writable, and the mapper is read-only")
    if len(mapper):
        live = f"{len(mapper)} mapping{'s' if len(mapper) > 1 else ''}"
        raise _error(mapper, errno.ENOTEMPTY, f"the mapper has {live}: a state is restored on one that has none")
    try:
        for (dev, ino), mappings in files.items():
            with _opened(opener(dev, ino, any(mapping.writable for mapping in mappings))) as fd:
                _check_identity(mapper, fd, dev, ino)
                for mapping in mappings:
                    place = (mapping.file_offset, mapping.window_offset, mapping.length)
                    mapper.setup_mapping(fd, *place, mapping.writable)
    except BaseException:
        with suppress(OSError):  # it was closed meanwhile, or this is a forked child
            mapper.reset()
        raise


def _error(mapper: DaxMapper, number: int, text: str) -> OSError:
    return OSError(number, f"{mapper.name}: {text}" if mapper.name else text)


def _check_open(mapper: DaxMapper) -> None:
    if mapper.closed:
        raise _error(mapper, errno.ENODEV, "the mapper is closed")


def _checked(data: Mapping[str, Any], mapper: DaxMapper) -> list[MappingInfo]:
    """The mappings of a state that fits a mapper."""
    if not isinstance(data, Mapping):
        raise TypeError(f"data: {type(data).__name__} is not what export_state gave, a dict")
    for name, expected in (("version", _VERSION), ("base", mapper.base), ("size", mapper.size)):
        if name not in data:
            raise TypeError(f"data: no key {name!r}; it is not what export_state gave")
        check_int(f"data: {name}", data[name])
        if data[name] != expected:
            raise ValueError(f"data: {name} is {data[name]!r}, where {expected!r} is needed")
    mappings = data.get("mappings")
    if not isinstance(mappings, list | tuple):
        raise TypeError("data: 'mappings' is not a list")
    return [_mapping(index, mapping) for index, mapping in enumerate(mappings)]


def _mapping(index: int, fields: object) -> MappingInfo:
    if not isinstance(fields, Mapping):
        raise TypeError(f"data: mappings[{index}]: {type(fields).__name__} is not a dict")
    for name in (*_FIELDS, *fields):
        if name not in _FIELDS or name not in fields:
            raise TypeError(f"data: mappings[{index}]: {'unknown' if name in fields else 'no'} key {name!r}")
    try:
        return MappingInfo(**fields)
    except (TypeError, OverflowError) as error:
        raise type(error)(f"data: mappings[{index}]: {error}") from None


def _by_file(mappings: list[MappingInfo]) -> dict[tuple[int, int], list[MappingInfo]]:
    files: dict[tuple[int, int], list[MappingInfo]] = {}
    for mapping in mappings:
        files.setdefault((mapping.dev, mapping.ino), []).append(mapping)
    return files


@contextmanager
def _opened(answer: "int | OpenFile") -> Iterator[int]:
    """The descriptor in what an opener returned, which is closed at the end if it can be."""
    if isinstance(answer, bool) or not (isinstance(answer, int) or _is_open_file(answer)):
        kind = type(answer).__name__
        raise TypeError(f"the opener returned a {kind}: an int or an object with fileno() and close() is wanted")
    if isinstance(answer, int):
        yield answer
        return
    try:
        yield answer.fileno()
    finally:
        answer.close()


def _is_open_file(answer: object) -> bool:
    return hasattr(answer, "fileno") and hasattr(answer, "close")


def _check_identity(mapper: DaxMapper, fd: int, dev: int, ino: int) -> None:
    try:
        found = os.fstat(fd)
    except OSError as error:
        raise _error(mapper, error.errno or errno.EBADF, f"the opener gave fd {fd}: {error.strerror}") from None
    if (found.st_dev, found.st_ino) != (dev, ino):
        given = f"the opener gave the file of st_dev {found.st_dev}, st_ino {found.st_ino}"
        raise _error(mapper, errno.ESTALE, f"{given}, where st_dev {dev}, st_ino {ino} was mapped")
