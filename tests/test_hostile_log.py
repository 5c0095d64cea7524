"""What a guest may put into a text that is logged: a file's name in an exception of the VMM's own code, say."""

import logging
from errno import EIO, ENOENT
from pathlib import Path

import pytest

from daxmap import DaxDispatcher
from support.files import HostFile
from support.guest_requests import map_request, told
from support.host import PAGE
from support.limits import errno_of
from support.recording import Fault, RecordingBackend, RecordingHypervisor
from support.records import recording

LONGEST = 1100
"""Characters: a thousand, and how many warnings were held back."""

TEXTS = {
    "newlines": "name\nWARNING daxmap: forged\r\n\x0b\x0c\x85\u2028\u2029 end",
    "terminal": "\x1b[2J\x1b]0;title\x07\x9b31m\x08\x7f\0",
    "direction": "abc\u202egnp.exe\u2066\u200f\ufeff",
    "surrogates": "\udcff\udc80 not UTF-8",
    "long": "x" * 1_000_000,
    "long and unprintable": "\x01" * 1_000_000,
    "percent": "%s %d %n {} {0}",
}


@pytest.fixture(params=TEXTS)
def text(request: pytest.FixtureRequest) -> str:
    return TEXTS[request.param]


def check(records: list[logging.LogRecord]) -> None:
    """Check that there is one warning, of one line that a terminal just shows."""
    [record] = records
    message = record.getMessage()
    assert record.levelno == logging.WARNING
    assert len(message) <= LONGEST
    assert message.isprintable(), ascii(message)
    message.encode()


class ShowsAs:
    """A value with a repr of somebody's choice."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


@pytest.mark.parametrize("kind", [RecordingHypervisor, RecordingBackend])
@pytest.mark.parametrize("method", ["map", "unmap"])
@pytest.mark.parametrize("value", [False, True], ids=["exception", "value"])
def test_what_a_callback_says(
    kind: type[RecordingHypervisor] | type[RecordingBackend], method: str, text: str, tmp_path: Path, *, value: bool
) -> None:
    recorder = kind()
    file = HostFile(tmp_path / "file", 1)
    fault = Fault(returns=ShowsAs(text)) if value else Fault(raises=RuntimeError(text))
    with recorder.mapper() as mapper:
        if method == "unmap":
            mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False)
        recorder.fail_next(fault, fault)  # an unmap that raised is asked for once more
        with recording(logging.WARNING) as records:
            if method == "map":
                assert errno_of(lambda: mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False)) == EIO
            else:
                assert errno_of(lambda: mapper.remove_mapping(0, PAGE)) == EIO
        check(records.records)
    file.close()


def test_what_a_resolver_says(text: str) -> None:
    def resolve(_nodeid: int, _fh: int | None, _writable: bool) -> int:  # noqa: FBT001
        raise FileNotFoundError(ENOENT, "not in this share", text)

    with RecordingBackend().mapper() as mapper, recording(logging.WARNING) as records:
        assert told(DaxDispatcher(mapper, resolve).handle(map_request(1, 0, length=PAGE))) == ENOENT
        check(records.records)


def test_what_an_exception_of_a_resolver_says_that_is_logged_with_its_traceback(text: str) -> None:
    def resolve(_nodeid: int, _fh: int | None, _writable: bool) -> int:  # noqa: FBT001
        error = ValueError(text)
        error.add_note(text)
        raise error from RuntimeError(text)

    with RecordingBackend().mapper() as mapper, recording(logging.WARNING) as records:
        assert told(DaxDispatcher(mapper, resolve).handle(map_request(1, 0, length=PAGE))) == EIO
    [record] = records.records
    assert (record.levelno, record.exc_info) == (logging.ERROR, None)
    first, *rest = logging.Formatter().format(record).split("\n")
    assert first.startswith("resolver failed: ValueError: ")
    assert any("in resolve" in line for line in rest)
    for line in (first, *rest):
        assert len(line) <= LONGEST
        assert line.isprintable(), ascii(line)
        line.encode()
    assert all(line.startswith("  ") for line in rest), "no line looks like a record"
    assert sum(map(len, rest)) <= 12_000
