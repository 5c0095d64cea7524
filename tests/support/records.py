"""What the logger `daxmap` says, and handlers that look back at the mapper."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from daxmap import DaxMapper

LOGGER = logging.getLogger("daxmap")


class Recorder(logging.Handler):
    """Keeps the records, and calls back."""

    def __init__(self, call_back: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self._call_back = call_back

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self._call_back()

    def take(self, level: int) -> list[str]:
        """The messages since the last time, all of which must be of this level."""
        taken, self.records = self.records, []
        assert {record.levelno for record in taken} <= {level}
        return [record.getMessage() for record in taken]


@contextmanager
def recording(level: int, call_back: Callable[[], None] = lambda: None) -> Iterator[Recorder]:
    """Record what is logged in the block, at this level of the logger."""
    recorder = Recorder(call_back)
    before = LOGGER.level
    LOGGER.addHandler(recorder)
    LOGGER.setLevel(level)
    try:
        yield recorder
    finally:
        LOGGER.setLevel(before)
        LOGGER.removeHandler(recorder)


class Prober:
    """A handler's callback that waits for another thread, which looks at the mapper.

    So it is stuck if a record is emitted while the mapper's lock is held.
    """

    def __init__(self) -> None:
        self.mapper: DaxMapper | None = None
        self.probes = 0
        self.stuck = False

    def __call__(self) -> None:
        mapper = self.mapper
        if mapper is None or self.stuck:
            return
        thread = threading.Thread(target=self._look, args=[mapper], daemon=True)
        thread.start()
        thread.join(10)
        self.stuck = thread.is_alive()
        self.probes += 1

    def check(self, *calls: Callable[[], object]) -> None:
        """Check that each call emits a record, and none under the lock."""
        for number, call in enumerate(calls):
            before = self.probes
            with suppress(OSError):
                call()
            assert self.probes > before, f"call {number} was silent"
            assert not self.stuck, f"call {number} logs under the lock"

    def _look(self, mapper: DaxMapper) -> None:
        mapper.lookup(0)  # logs nothing: the handler is busy, and a thread that logs waits for it
        list(mapper)
