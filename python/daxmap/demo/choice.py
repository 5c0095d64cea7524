"""Which guest the demo runs on: the one asked for, or the best one that can be had."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

from daxmap import DaxMapper, HostWindowBackend, HypervisorBackend, KvmBackend
from daxmap.demo.machine import CpuGuest, Guest, HostGuest
from daxmap.kvm import DEVICE, Vm
from daxmap.layout import Share

_WINDOW_SLOT = 1


class NoGuestError(Exception):
    """A kind of guest cannot be had here; the message says why, and how to get it."""


@dataclass(frozen=True)
class Choice:
    """An open guest, and why it is this one, in a phrase."""

    guest: Guest
    why: str


@contextmanager
def open_guest(share: Share, ram_size: int, kind: str | None = None, *, device: str = DEVICE) -> Iterator[Choice]:
    """Open a guest with `ram_size` bytes of RAM, and a mapper over `share`'s slice of the DAX window.

    On leaving, the mapper is drained first, while the guest still exists.

    Args:
        share: where the window is.
        ram_size: bytes, a multiple of the page size.
        kind: one of `GUESTS`; None for the first of them that can be had.
        device: path of the KVM device.

    Raises:
        NoGuestError: a guest of this kind cannot be had.
    """
    with ExitStack() as stack:
        if kind is not None:
            yield Choice(stack.enter_context(_OPENERS[kind](share, ram_size, device)), "as asked for")
            return
        obstacles: list[str] = []
        for opener in _OPENERS.values():
            try:
                guest = stack.enter_context(opener(share, ram_size, device))
            except NoGuestError as obstacle:
                obstacles.append(str(obstacle))
            else:
                yield Choice(guest, f"since {'; '.join(obstacles) or 'there is no better one'}")
                return


@contextmanager
def _open_kvm(share: Share, ram_size: int, device: str) -> Iterator[Guest]:
    try:
        vm = Vm(ram_size, device=device)
    except OSError as error:
        raise NoGuestError(f"KVM cannot be used: {error} (`daxmap doctor` says what to do about it)") from error
    with vm, DaxMapper.for_share(share, KvmBackend(vm.fd, _WINDOW_SLOT)) as mapper:
        yield CpuGuest("kvm", "a KVM virtual machine with one CPU", vm.run, mapper)


@contextmanager
def _open_unicorn(share: Share, ram_size: int, _device: str) -> Iterator[Guest]:
    try:
        from daxmap import unicorn  # noqa: PLC0415  (there only with the extra)
    except ImportError as error:
        raise NoGuestError(f"unicorn cannot be used: {error}") from error
    vm = unicorn.UnicornVm(ram_size)
    with DaxMapper.for_share(share, HypervisorBackend(vm)) as mapper:
        about = f"a CPU in 32-bit mode that unicorn {unicorn.__version__} emulates"
        yield CpuGuest("unicorn", about, vm.run, mapper)


@contextmanager
def _open_none(share: Share, _ram_size: int, _device: str) -> Iterator[Guest]:
    backend = HostWindowBackend()
    try:
        with DaxMapper.for_share(share, backend) as mapper:
            yield HostGuest(mapper)
    finally:
        backend.release()


_OPENERS: dict[str, Callable[[Share, int, str], AbstractContextManager[Guest]]] = {
    "kvm": _open_kvm,
    "unicorn": _open_unicorn,
    "none": _open_none,
}

GUESTS = tuple(_OPENERS)
"""The kinds of guest, the best first. The last one can be had everywhere."""
