"""`DaxMapper.for_share`: nothing that a layout knows of a share is forgotten."""

import logging
from errno import EROFS
from pathlib import Path

import pytest

from daxmap import DaxMapper, Share, WindowLayout
from support.recording import RecordingBackend

LAYOUT = WindowLayout(0, 1 << 30, [("root", 64 << 20, True), ("home", 32 << 20)])


@pytest.mark.parametrize("share", LAYOUT.shares.values(), ids=LAYOUT.shares)
def test_mapper_has_all_that_the_share_has(share: Share) -> None:
    with DaxMapper.for_share(share, RecordingBackend()) as mapper:
        assert (mapper.base, mapper.size, mapper.readonly, mapper.name) == (
            share.base,
            share.size,
            share.readonly,
            share.tag,
        )
        assert f'"{share.tag}"' in repr(mapper)


def test_other_options_are_passed_on() -> None:
    with (
        Path(__file__).open("rb") as file,
        DaxMapper.for_share(LAYOUT["home"], RecordingBackend(), max_mappings=1, prefault=True) as mapper,
    ):
        mapper.setup_mapping(file, 0, 0, mapper.page_size, writable=False)
        with pytest.raises(OSError, match="budget of 1"):
            mapper.setup_mapping(file, 0, mapper.page_size, mapper.page_size, writable=False)


def test_errors_and_records_say_of_which_share_they_are(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "daxmap")
    with DaxMapper.for_share(LAYOUT["root"], RecordingBackend()) as mapper:
        with pytest.raises(OSError, match=r"root: .*read-only") as caught:
            mapper.setup_mapping(0, 0, 0, mapper.page_size, writable=True)
        assert caught.value.errno == EROFS
        mapper.reset()
    assert len(caplog.messages) >= 3
    assert all(message.startswith("root: ") for message in caplog.messages)


@pytest.mark.parametrize("share", [None, ("root", 1 << 20), LAYOUT])
def test_what_is_no_share_is_a_type_error(share: object) -> None:
    with pytest.raises(TypeError, match=r"WindowLayout\.shares"):
        DaxMapper.for_share(share, RecordingBackend())  # type: ignore[arg-type]
