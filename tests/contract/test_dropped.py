"""A mapper that is dropped while an exception is on its way."""

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest

from daxmap import DaxMapper, HostWindowBackend, HypervisorBackend
from support.host import PAGE
from support.recording import RecordingHypervisor

BASE, SIZE = 1 << 32, 16 * PAGE


def of_a_hypervisor() -> Any:  # noqa: ANN401  # for uses that no type checker lets through
    return DaxMapper(BASE, SIZE, HypervisorBackend(RecordingHypervisor()))


def of_a_host_window() -> Any:  # noqa: ANN401
    return DaxMapper(BASE, SIZE, HostWindowBackend())


async def entered_by_async_with(make: Callable[[], Any]) -> None:
    async with make():
        pass


USES: dict[str, tuple[Callable[[Callable[[], Any]], object], str]] = {
    "subscript": (lambda make: make()[0], "not subscriptable"),
    "sum": (lambda make: make() + 1, "unsupported operand"),
    "call": (lambda make: make()(), "not callable"),
    "too few arguments": (lambda make: make().remove_mapping(0), "missing 1 required positional argument"),
    "argument of another type": (lambda make: make().map_file("file"), "open the file first"),
    "async with": (lambda make: asyncio.run(entered_by_async_with(make)), "asynchronous context manager"),
}


@pytest.mark.parametrize("make", [of_a_hypervisor, of_a_host_window])
@pytest.mark.parametrize(("use", "match"), USES.values(), ids=USES)
def test_exception_on_its_way_is_the_one_that_arrives(
    make: Callable[[], Any], use: Callable[[Callable[[], Any]], object], match: str
) -> None:
    with pytest.warns(ResourceWarning), pytest.raises(TypeError, match=match):
        use(make)
    gc.collect()
