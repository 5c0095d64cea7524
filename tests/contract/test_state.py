"""The mappings as plain data, and set up again from it."""

import json
import os
import pickle
from collections.abc import Callable
from errno import EACCES, EBADF, ENODEV, ENOENT, ENOSPC, ENOTEMPTY, EROFS, ESTALE
from typing import Any

import pytest

from daxmap import MappingInfo
from support.host import PAGE
from support.rig import WINDOW_SIZE, Rig, Subject

State = dict[str, Any]
Opener = Callable[[int, int, bool], int]


@pytest.fixture
def exported(rig: Rig) -> State:
    """A state: two mappings of one file, one of them writable, and one of another."""
    subject = rig.open()
    first, second = rig.file(), rig.file()
    subject.map(first, 0, 2 * PAGE)
    subject.map(first, 4 * PAGE, PAGE, file_offset=2 * PAGE, writable=True)
    subject.map(second, 8 * PAGE, 2 * PAGE, file_offset=PAGE)
    state = subject.mapper.export_state()
    subject.mapper.reset()
    subject.model.clear()
    return state | {"base": subject.mapper.base + WINDOW_SIZE}  # where the next mapper of a rig is


def opener_of(rig: Rig) -> Opener:
    files = {(file.device, file.inode): file.fd for file in rig.files}
    return lambda dev, ino, _writable: files[dev, ino]


def test_state_is_plain_data(rig: Rig) -> None:
    subject = rig.open()
    assert subject.mapper.export_state()["mappings"] == []
    file = rig.file()
    subject.map(file, PAGE, 2 * PAGE, file_offset=PAGE, writable=True)
    with subject.untouched():
        state = subject.mapper.export_state()
    assert state == {
        "version": 1,
        "base": subject.mapper.base,
        "size": WINDOW_SIZE,
        "mappings": [
            {
                "window_offset": PAGE,
                "length": 2 * PAGE,
                "file_offset": PAGE,
                "writable": True,
                "dev": file.device,
                "ino": file.inode,
            }
        ],
    }
    assert json.loads(json.dumps(state)) == state == pickle.loads(pickle.dumps(state))  # noqa: S301


def test_restored_mapper_shows_what_the_exported_one_did(rig: Rig, exported: State) -> None:
    subject = rig.open()
    asked: list[tuple[int, int, bool]] = []
    find = opener_of(rig)

    def opener(dev: int, ino: int, writable: bool) -> int:  # noqa: FBT001
        asked.append((dev, ino, writable))
        return find(dev, ino, writable)

    subject.mapper.restore_state(json.loads(json.dumps(exported)), opener)
    subject.adopt_book()
    subject.agree()
    assert subject.mapper.export_state() == exported
    first, second = rig.files
    assert asked == [(first.device, first.inode, True), (second.device, second.inode, False)]


def test_files_that_can_be_closed_are(rig: Rig, exported: State) -> None:
    subject = rig.open()
    paths = {file.inode: file.path for file in rig.files}
    opened = []

    def opener(_dev: int, ino: int, writable: bool) -> Any:  # noqa: ANN401, FBT001
        opened.append(paths[ino].open("r+b" if writable else "rb"))
        return opened[-1]

    subject.mapper.restore_state(exported, opener)
    assert [file.closed for file in opened] == [True, True]
    subject.adopt_book()
    subject.agree()


def refused(subject: Subject, state: State, opener: Opener) -> BaseException:
    """What restoring raises; nothing is shown then."""
    with pytest.raises(Exception, match=r"\w") as caught:
        subject.mapper.restore_state(state, opener)
    subject.agree()
    assert subject.mapper.export_state()["mappings"] == []
    return caught.value


def errno_of(error: BaseException) -> int | None:
    assert isinstance(error, OSError), error
    return error.errno


def test_other_file_of_the_second_number_undoes_the_first(rig: Rig, exported: State) -> None:
    first, _ = rig.files
    said = refused(rig.open(), exported, lambda *_: first.fd)
    assert errno_of(said) == ESTALE
    assert f"gave the file of st_dev {first.device}, st_ino {first.inode}" in str(said)


@pytest.mark.parametrize("error", [FileNotFoundError(ENOENT, "gone"), KeyError("x"), KeyboardInterrupt()])
def test_opener_that_raises_undoes_all(rig: Rig, exported: State, error: BaseException) -> None:
    subject = rig.open()
    find, calls = opener_of(rig), iter([False, True])

    def opener(dev: int, ino: int, writable: bool) -> int:  # noqa: FBT001
        if next(calls):
            raise error
        return find(dev, ino, writable)

    with pytest.raises(type(error)) as caught:
        subject.mapper.restore_state(exported, opener)
    assert caught.value is error
    subject.agree()


def test_opener_that_gives_no_file(rig: Rig, exported: State) -> None:
    subject = rig.open()
    for answer in (None, True, "path"):
        said = refused(subject, exported, lambda *_, answer=answer: answer)
        assert isinstance(said, TypeError)
        assert f"the opener returned a {type(answer).__name__}" in str(said)
    closed = os.open(rig.files[0].path, os.O_RDONLY | os.O_CLOEXEC)
    os.close(closed)
    assert errno_of(refused(subject, exported, lambda *_: closed)) == EBADF


def test_file_that_is_open_for_too_little(rig: Rig, exported: State) -> None:
    subject = rig.open()
    paths = {file.inode: file.path for file in rig.files}
    fds: list[int] = []

    def opener(_dev: int, ino: int, _writable: bool) -> int:  # noqa: FBT001
        fds.append(os.open(paths[ino], os.O_RDONLY | os.O_CLOEXEC))
        return fds[-1]

    if not rig.can_copy:
        pytest.skip("the VMM maps by itself, and its file is open for all")
    assert errno_of(refused(subject, exported, opener)) == EACCES
    for fd in fds:
        os.close(fd)


def test_read_only_mapper_has_no_file_opened_for_writing(rig: Rig, exported: State) -> None:
    """On overlayfs that alone would copy the file up."""
    subject = rig.open(readonly=True)
    asked: list[bool] = []

    def opener(_dev: int, _ino: int, writable: bool) -> int:  # noqa: FBT001
        asked.append(writable)
        return -1

    assert errno_of(refused(subject, exported, opener)) == EROFS
    assert asked == []


def test_opener_that_closes_the_mapper_and_raises(rig: Rig, exported: State) -> None:
    subject = rig.open()

    def opener(*_: object) -> int:
        subject.mapper.close()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        subject.mapper.restore_state(exported, opener)


def test_budget_and_read_only_mapper_are_kept_to(rig: Rig, exported: State) -> None:
    assert errno_of(refused(rig.open(max_mappings=2), exported, opener_of(rig))) == ENOSPC
    exported["base"] += WINDOW_SIZE
    assert errno_of(refused(rig.open(readonly=True), exported, opener_of(rig))) == EROFS


def test_mapper_with_mappings_keeps_them(rig: Rig, exported: State) -> None:
    subject = rig.open()
    subject.map(rig.file(), 0)
    with pytest.raises(OSError, match="has 1 mapping:") as caught:
        subject.mapper.restore_state(exported, opener_of(rig))
    assert caught.value.errno == ENOTEMPTY
    subject.agree()


def test_closed_mapper(rig: Rig, exported: State) -> None:
    subject = rig.open()
    subject.mapper.close()
    for call in (subject.mapper.export_state, lambda: subject.mapper.restore_state(exported, opener_of(rig))):
        with pytest.raises(OSError, match="closed") as caught:
            call()
        assert caught.value.errno == ENODEV


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"version": 2}, ValueError, "version is 2, where 1 is needed"),
        ({"base": 0}, ValueError, "base is 0"),
        ({"size": PAGE}, ValueError, f"size is {PAGE}"),
        ({"mappings": None}, TypeError, "'mappings' is not a list"),
        ({"mappings": [1]}, TypeError, r"mappings\[0\]: int is not a dict"),
        ({"mappings": [{}]}, TypeError, r"mappings\[0\]: no key 'window_offset'"),
        ({"mappings": [dict.fromkeys([*MappingInfo.__match_args__, "x"])]}, TypeError, "unknown key 'x'"),
    ],
)
def test_data_that_is_no_state_of_this_window(
    rig: Rig, exported: State, change: State, error: type[Exception], match: str
) -> None:
    subject = rig.open()
    with pytest.raises(error, match=match):
        subject.mapper.restore_state(exported | change, opener_of(rig))
    subject.agree()


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [("length", -1, OverflowError), ("ino", 2**64, OverflowError), ("dev", "1", TypeError), ("writable", 1, TypeError)],
)
def test_field_that_cannot_be(rig: Rig, exported: State, name: str, value: object, error: type[Exception]) -> None:
    subject = rig.open()
    exported["mappings"][1][name] = value
    with pytest.raises(error, match=rf"data: mappings\[1\]: .*{name}"):
        subject.mapper.restore_state(exported, opener_of(rig))
    subject.agree()


@pytest.mark.parametrize("data", [None, [], "{}", {}])
def test_data_that_is_no_dict_of_export_state(rig: Rig, data: Any) -> None:  # noqa: ANN401
    with pytest.raises(TypeError, match="export_state"):
        rig.open().mapper.restore_state(data, opener_of(rig))
