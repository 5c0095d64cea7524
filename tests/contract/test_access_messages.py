"""What read and write say of an address that they cannot reach."""

import tempfile
from errno import EFAULT, ENOTSUP

import pytest

from daxmap import DaxMapper, HostWindowBackend
from support.host import PAGE
from support.recording import RecordingBackend
from support.rig import WINDOW_SIZE, Subject

HINT = "guest addresses are wanted, not window offsets"


@pytest.fixture
def base(subject: Subject) -> int:
    """Guest physical address of a window that shows a page of a file at its second page, and another at its fourth."""
    subject.map(subject.rig.file(), PAGE, writable=True)
    subject.map(subject.rig.file(), 3 * PAGE, writable=True)
    return subject.mapper.base


def messages(subject: Subject, address: int, length: int) -> set[str]:
    """What read and write say: the same."""
    said = set()
    for call in (lambda: subject.mapper.read(address, length), lambda: subject.mapper.write(address, bytes(length))):
        with subject.refused(EFAULT) as caught:
            call()
        said.add(str(caught.value))
    return said


@pytest.mark.parametrize(
    ("first", "length", "hole"),
    [
        (0, 1, 0),
        (PAGE - 1, 2, PAGE - 1),
        (PAGE, PAGE + 1, 2 * PAGE),
        (2 * PAGE - 1, 2 * PAGE, 2 * PAGE),
        (3 * PAGE + 7, PAGE, 4 * PAGE),
        (2 * PAGE + 5, 1, 2 * PAGE + 5),
        (WINDOW_SIZE - 1, 1, WINDOW_SIZE - 1),
    ],
)
def test_first_byte_of_a_hole_is_named(subject: Subject, base: int, first: int, length: int, hole: int) -> None:
    (said,) = messages(subject, base + first, length)
    assert f"[{base + first:#x}, +{length:#x}) has a hole at {base + hole:#x}" in said


@pytest.mark.parametrize(("first", "length"), [(-1, 1), (-1, 2), (WINDOW_SIZE, 1), (PAGE, WINDOW_SIZE)])
def test_window_is_named_by_its_addresses(subject: Subject, base: int, first: int, length: int) -> None:
    (said,) = messages(subject, base + first, length)
    assert f"[{base + first:#x}, +{length:#x}) is not in the window, [{base:#x}, +{WINDOW_SIZE:#x})" in said


def test_offset_in_place_of_an_address_is_told_from_other_addresses(subject: Subject, base: int) -> None:
    mapper = subject.rig.open().mapper  # whose window is where no offset leads to
    assert mapper.base > WINDOW_SIZE >= base
    for address, length, hinted in [
        (0, 1, True),
        (3 * PAGE, PAGE, True),
        (WINDOW_SIZE - 1, 1, True),
        (WINDOW_SIZE - 1, 2, False),
        (mapper.base - 1, 1, False),
        (mapper.base + WINDOW_SIZE, 1, False),
        (2**64 - 1, 1, False),
        (0, WINDOW_SIZE + 1, False),
    ]:
        with pytest.raises(OSError, match="is not in the window") as caught:
            mapper.read(address, length)
        assert (HINT in str(caught.value)) == hinted, (address, length)


def test_offset_that_can_only_be_one_is_not_called_an_address() -> None:
    with (
        HostWindowBackend() as backend,
        DaxMapper(1 << 30, 2 << 30, backend) as mapper,
        tempfile.TemporaryFile() as file,
    ):
        for offset in ((2 << 30) - PAGE, 1 << 30):  # the second is an address of the window, too
            with pytest.raises(OSError, match="leaves the window") as caught:
                mapper.setup_mapping(file, 0, offset, 3 << 30, writable=False)
            assert "guest addresses" not in str(caught.value)


def test_backend_of_the_vmms_own_has_no_memory_to_read() -> None:
    with RecordingBackend().mapper() as mapper, tempfile.TemporaryFile() as file:
        mapper.setup_mapping(file, 0, 0, PAGE, writable=True)
        for call in (lambda: mapper.read(mapper.base, 1), lambda: mapper.write(mapper.base, b"x")):
            with pytest.raises(OSError, match="the VMM's own, which maps files by itself") as caught:
                call()
            assert caught.value.errno == ENOTSUP
