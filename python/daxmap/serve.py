"""`daxmap serve`: a directory as a virtiofs device, for QEMU and crosvm."""

import json
import logging
import os
import select
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TextIO

from daxmap._core import _Device
from daxmap.status import DaxStatus, status_of_session

__all__ = ["Share", "serve"]

_STOPS = (signal.SIGINT, signal.SIGTERM)
_SIGNALS = (*_STOPS, signal.SIGUSR1)
# Open from before the process may open no such thing any more.
_NOWHERE = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
# How long a front end may keep the service from ending: it may be that it does not answer.
_PATIENCE = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What is to be served, and how.

    Attributes:
        directory: What the guest sees.
        socket: Where front ends find the device.
        tag: What the guest mounts it by.
        window: Size of the window in bytes.
        dax: Which files the guest is to map.
        min_size: Of the files that are marked, in bytes.
        readonly: Whether whatever would change a file is refused.
        owner: Whose the files are that the guest makes.
        cache: What the guest may keep in mind.
        threads: Request queues, each with a thread.
        confined: Whether the process gives up what it does not need.
    """

    directory: Path
    socket: Path
    tag: str
    window: int
    dax: Literal["always", "inode", "never"]
    min_size: int
    readonly: bool
    owner: Literal["guest", "host"]
    cache: Literal["auto", "always", "never"]
    threads: int
    confined: bool = True


def serve(share: Share, *, once: bool, as_json: bool) -> int:
    """Serve a directory until a signal ends it, or with `once` until the first front end has left.

    Args:
        share: What is to be served.
        once: Serve one front end only.
        as_json: Print the status as a JSON object a line, instead of text.

    Returns:
        The command's exit code.
    """
    with _signals() as signals:
        # The threads of the device inherit this: no call of theirs is interrupted.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            device = _Device(
                share.directory,
                share.socket,
                share.tag,
                None if share.dax == "never" else share.window,
                share.threads,
                share.readonly,
                share.dax,
                share.min_size,
                share.owner,
                share.cache,
                share.confined,
            )
        except (OSError, ValueError) as error:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            return _fail(error)
        logging.basicConfig(format="daxmap serve: %(message)s", stream=sys.stderr)
        try:
            return _run(device, share, signals, once=once, as_json=as_json)
        finally:
            device.close()


def _run(device: _Device, share: Share, signals: int, *, once: bool, as_json: bool) -> int:
    """Serve, and tell what happens."""
    for lack in device.confinement[1]:
        _say(f"not confined as it might be: {lack}")
    try:
        device.start(once)
    except OSError as error:
        return _fail(error)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    _print(_ready(share, as_json=as_json), sys.stdout)
    waiting = select.poll()
    waiting.register(signals, select.POLLIN)
    waiting.register(device.fileno(), select.POLLIN)
    stopping = False
    while not device.ended:
        if not waiting.poll(_PATIENCE * 1000 if stopping else None):
            _say("the front end does not answer; ending all the same")
            break
        for number in _come(signals):
            if number in _STOPS:
                stopping = True
                device.stop()
            else:
                _print(_status(device, as_json=as_json), sys.stdout)
        for notice in device.notices():
            _say(notice)
    for notice in device.notices():
        _say(notice)
    _print(_status(device, as_json=as_json), sys.stdout)
    return 0


@contextmanager
def _signals() -> Iterator[int]:
    """A descriptor from which the numbers of signals can be read: SIGINT, SIGTERM and SIGUSR1."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
    kept = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(kept)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)


def _come(signals: int) -> bytes:
    """The numbers of the signals that have come."""
    with suppress(BlockingIOError):
        return os.read(signals, 64)
    return b""


def _dax(device: _Device) -> DaxStatus:
    reason = device.without_dax
    if reason is not None:
        return DaxStatus("off", reason)
    return status_of_session(device, device.stats().live_mappings)


def _status(device: _Device, *, as_json: bool) -> str:
    """The status: whether DAX is used, what there is of a front end, and the counters."""
    status, stats = _dax(device), device.stats().as_dict()
    if as_json:
        fields = {"dax": status.state, "reason": status.reason, "front_end": device.front_end, "stats": stats}
        return json.dumps(fields)
    counts = ", ".join(f"{name} {value}" for name, value in stats.items() if value)
    return f"{status}\nfront end: {device.front_end}\n{counts or 'nothing was mapped'}"


def _ready(share: Share, *, as_json: bool) -> str:
    """What to give to QEMU and to crosvm, now that the socket is there."""
    path = str(share.socket).replace(",", ",,")
    device = f"vhost-user-test-device-pci,chardev=daxmap,virtio-id=26,num_vqs={share.threads + 1},config_size=40"
    qemu = [
        *("-m", "2G"),
        *("-object", "memory-backend-memfd,id=ram,size=2G,share=on"),
        *("-machine", "memory-backend=ram"),
        *("-chardev", f"socket,id=daxmap,path={path}"),
        *("-device", device),
    ]
    crosvm = ["--vhost-user", f"type=fs,socket={share.socket}"]
    options = {"always": ["-o", "dax"], "inode": ["-o", "dax=inode"], "never": []}[share.dax]
    mount = ["mount", "-t", "virtiofs", *options, share.tag, "/mnt"]
    if as_json:
        return json.dumps({"socket": str(share.socket), "qemu": qemu, "crosvm": crosvm, "mount": mount})
    return "\n".join(
        [
            f"serving {share.directory} at {share.socket}",
            f"QEMU 11.1 or later: {shlex.join(qemu)}",
            f"crosvm: {shlex.join(crosvm)}",
            f"in the guest: {shlex.join(mount)}",
        ]
    )


def _fail(error: OSError | ValueError) -> int:
    """Say in a line why nothing can be served, and give the exit code for that."""
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        _say(f"{where}{error.strerror or error}")
    else:
        _say(str(error))
    return 2


def _say(line: str) -> None:
    _print(f"daxmap serve: {line}", sys.stderr)


def _print(text: str, stream: TextIO) -> None:
    """Print at once. Whoever has stopped reading misses it, and the guest is served on."""
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        os.dup2(_NOWHERE, stream.fileno())  # so that what is left in the buffer goes somewhere
