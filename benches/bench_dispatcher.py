"""What a FUSE request costs over what it asks for.

`pytest benches/bench_dispatcher.py --benchmark-enable`. Each round runs contender and yardstick in turn, so that a
noisy machine disturbs both; the median of the rounds' ratios, or differences, is in `extra_info`, and is held to its
bar.
"""

import statistics
import tempfile
from collections.abc import Callable, Iterator
from time import perf_counter_ns

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from daxmap import FUSE_NO_FH, DaxDispatcher, DaxMapper, HostWindowBackend
from daxmap.fuse import FUSE_REMOVEMAPPING, FUSE_SETUPMAPPING, RemoveMapping, SetupMapping, request

SLOT = 2 << 20
LIVE = 1000
ROUNDS = 60
FREE = (2 * LIVE + 1) * SLOT  # between holes

Pair = tuple[Callable[[int], None], Callable[[int], None]]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """SETUPMAPPING and REMOVEMAPPING so many times, as requests and as method calls, with 1,000 mappings live."""
    backend = HostWindowBackend()
    with (
        tempfile.TemporaryFile() as file,
        DaxMapper(0, (2 * LIVE + 4) * SLOT, backend, max_mappings=LIVE + 1) as mapper,
    ):
        file.truncate(SLOT)
        fd = file.fileno()
        for index in range(LIVE):
            mapper.setup_mapping(fd, 0, 2 * index * SLOT, SLOT, writable=False)
        handle = DaxDispatcher(mapper, lambda _nodeid, _fh, _writable: fd).handle
        setup_mapping, remove_mapping = mapper.setup_mapping, mapper.remove_mapping
        setup = request(FUSE_SETUPMAPPING, SetupMapping(FUSE_NO_FH, 0, SLOT, 2, FREE).build(), unique=2, nodeid=2)
        remove = request(FUSE_REMOVEMAPPING, RemoveMapping(((FREE, SLOT),)).build(), unique=4, nodeid=2)

        def requests(count: int) -> None:
            for _ in range(count):
                handle(setup)
                handle(remove)

        def methods(count: int) -> None:
            for _ in range(count):
                setup_mapping(fd, 0, FREE, SLOT, False)  # noqa: FBT003
                remove_mapping(FREE, SLOT)

        yield requests, methods
    backend.release()


def nanoseconds(work: Callable[[int], None], count: int) -> float:
    """What one turn of the work takes."""
    start = perf_counter_ns()
    work(count)
    return (perf_counter_ns() - start) / count


def test_pair_of_requests_against_the_method_calls(benchmark: BenchmarkFixture, pair: Pair) -> None:
    """At most 1.10 times."""
    requests, methods = pair
    ratios: list[float] = []

    def measure() -> None:
        ratios.append(nanoseconds(requests, 1000) / nanoseconds(methods, 1000))

    benchmark.pedantic(measure, rounds=ROUNDS, warmup_rounds=5)  # type: ignore[no-untyped-call]
    benchmark.extra_info["ratio"] = statistics.median(ratios)
    if benchmark.enabled:
        assert statistics.median(ratios) <= 1.10


LOOKUP = request(1, b"file\0", unique=2, nodeid=1)
WRITE = request(16, bytes(1 << 20), unique=2, nodeid=2)


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(LOOKUP, id="bytes"),
        pytest.param(bytearray(LOOKUP), id="bytearray"),
        pytest.param(memoryview(bytearray(LOOKUP)), id="memoryview"),
        pytest.param(WRITE, id="bytes of 1 MiB"),
    ],
)
def test_request_that_is_not_dax_s_over_a_call_that_does_nothing(
    benchmark: BenchmarkFixture, message: bytes | bytearray | memoryview
) -> None:
    """Less than 150 ns."""
    handle = DaxDispatcher(None, lambda *_: -1).handle

    def handled(count: int) -> None:
        for _ in range(count):
            handle(message)

    def nothing(count: int) -> None:
        for _ in range(count):
            callable(message)  # a C function that returns at once

    costs: list[float] = []

    def measure() -> None:
        costs.append(nanoseconds(handled, 20_000) - nanoseconds(nothing, 20_000))

    benchmark.pedantic(measure, rounds=ROUNDS, warmup_rounds=5)  # type: ignore[no-untyped-call]
    benchmark.extra_info["nanoseconds"] = statistics.median(costs)
    if benchmark.enabled:
        assert statistics.median(costs) < 150
