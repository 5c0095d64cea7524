"""What the mapper says of a guest address, to the person whose guest's access was refused."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.host import PAGE
from support.rig import WINDOW_SIZE, Rig, Subject

START = 2 * PAGE


@pytest.fixture
def shown(rig: Rig) -> Iterator[Subject]:
    """Page 1 of a file, and a page past its end, read-only at page 2; another file, writable, at page 8."""
    subject = rig.open()
    subject.map(rig.file(2), START, 2 * PAGE, file_offset=PAGE)
    subject.map(rig.file(), 8 * PAGE, 2 * PAGE, writable=True)
    yield subject
    subject.model.clear()


def explain(subject: Subject, offset: int) -> str:
    address = subject.mapper.base + offset
    with subject.untouched():
        said = subject.mapper.explain(address)
    assert said.startswith(f"{address:#x} is ")
    assert "\n" not in said
    return said


@pytest.fixture
def can_tell(rig: Rig) -> bool:
    """Whether the window's memory is this process's, so that more is known than the book says."""
    return rig.can_copy


def test_outside(shown: Subject) -> None:
    for offset in (-1, WINDOW_SIZE, 2**40):
        assert f"outside the window, which is {shown.mapper.base:#x} to " in explain(shown, offset)


def test_offset_in_place_of_an_address(rig: Rig) -> None:
    rig.open()
    subject = rig.open()
    assert f"a window offset of {PAGE:#x} is at {subject.mapper.base + PAGE:#x}" in subject.mapper.explain(PAGE)


def test_hole_and_what_lies_around_it(shown: Subject) -> None:
    before, after = f"[{START:#x}, {START + 2 * PAGE:#x})", f"[{8 * PAGE:#x}, {10 * PAGE:#x})"
    said = {offset: explain(shown, offset) for offset in (0, START + 2 * PAGE, 10 * PAGE, WINDOW_SIZE - 1)}
    assert all(f"a hole at window offset {offset:#x}" in text for offset, text in said.items())
    assert f"no mapping is before it, the next is {before}" in said[0]
    assert f"the mapping before it is {before}, the next is {after}" in said[START + 2 * PAGE]
    assert f"the mapping before it is {after}, none is after it" in said[WINDOW_SIZE - 1]


def test_hole_of_an_empty_window(subject: Subject) -> None:
    assert "nothing is mapped in the window" in explain(subject, 0)


def test_read_only_byte_is_named(shown: Subject, can_tell: bool) -> None:  # noqa: FBT001
    said = explain(shown, START + 5)
    file = shown.model[START].file
    assert f"byte {PAGE + 5:#x} of " in said
    assert f"(st_dev {file.device}, st_ino {file.inode}), read-only mapping [{START:#x}, {START + 2 * PAGE:#x})" in said
    assert (f"of {file.path} (" in said) == can_tell
    assert ("loads reach it, stores are refused" in said) == can_tell
    assert ("known to the VMM alone" in said) != can_tell


@pytest.mark.usefixtures("needs_copies")
def test_writable_byte(shown: Subject) -> None:
    said = explain(shown, 8 * PAGE)
    assert "writable mapping" in said
    assert said.endswith(": loads and stores reach it")


@pytest.mark.usefixtures("needs_copies")
def test_past_the_end_of_the_file(shown: Subject) -> None:
    said = explain(shown, START + PAGE)
    assert said.endswith(f"no access reaches it, it lies past the end of its file, which has {2 * PAGE} bytes")
    os.truncate(shown.model[START].file.path, 3 * PAGE)
    assert "loads reach it" in explain(shown, START + PAGE)


@pytest.mark.usefixtures("needs_copies")
def test_lent_byte(shown: Subject) -> None:
    mapper = shown.mapper
    with mapper.resolve(mapper.base + START, 1, writable=False):
        assert explain(shown, START).endswith("; it is lent to a device")
        assert "it is lent" not in explain(shown, 8 * PAGE)


@pytest.mark.usefixtures("needs_copies")
def test_hole_that_is_still_lent(rig: Rig) -> None:
    subject = rig.open()
    subject.map(rig.file(), 0)
    with subject.mapper.resolve(subject.mapper.base, 1, writable=False):
        subject.mapper.reset()
        subject.model.clear()
        assert subject.mapper.explain(subject.mapper.base).endswith("; what was here is still lent to a device")
    assert "lent to a device" not in explain(subject, 0)


def test_closed_mapper_still_answers(shown: Subject) -> None:
    shown.mapper.drain_all()
    assert shown.mapper.explain(shown.mapper.base).endswith("closed: nothing is shown there")
    assert "outside" in shown.mapper.explain(0)


@pytest.mark.usefixtures("needs_copies")
def test_name_that_a_guest_chose_is_made_fit_for_a_terminal(rig: Rig, tmp_path: Path) -> None:
    subject = rig.open()
    path = tmp_path / "\x1b[31mred\u202e\n\udcff.txt"
    path.write_bytes(bytes(PAGE))
    with path.open("rb") as file:
        subject.mapper.setup_mapping(file, 0, 0, PAGE, writable=False)
    said = subject.mapper.explain(subject.mapper.base)
    subject.mapper.remove_mapping(0, PAGE)
    assert said.isprintable()
    assert "red" in said
