"""The interpreter ends while daemon threads are in Python code that daxmap's Rust code has called."""

import subprocess
import sys

import pytest

from support.programs import TIMEOUT, with_support

PROGRAM = """
import logging, sys, tempfile, threading, time
from daxmap import DaxDispatcher, DaxMapper, HypervisorBackend
from support.guest_requests import map_request
from support.host import PAGE

where, what = sys.argv[1:]
entered = threading.Event()

def work():
    entered.set()
    if what == "long":
        end = time.monotonic() + 3
        while time.monotonic() < end:
            pass
    elif what == "endless":
        while True:
            pass
    elif what == "naps":
        while True:
            time.sleep(0.001)
    elif what == "blocked":
        time.sleep(3600)

class Hypervisor:
    def map(self, *_):
        if where == "callback":
            work()
    def unmap(self, *_):
        pass

class Handler(logging.Handler):
    def emit(self, _):
        work()

class File:
    def fileno(self):
        work()
        return file.fileno()
    def close(self):
        pass

def resolve(*_):
    work()
    return file.fileno()

def setup(fd):
    mapper.setup_mapping(fd, 0, 0, PAGE, writable=False, replace=True)
    mapper.remove_range(0, PAGE)

file = tempfile.TemporaryFile()
mapper = DaxMapper(1 << 32, 1 << 20, HypervisorBackend(Hypervisor()))
dispatcher = DaxDispatcher(mapper, resolve)
if where == "handler of log records":
    logging.getLogger("daxmap").addHandler(Handler())
    logging.getLogger("daxmap").setLevel(logging.DEBUG)
call = {
    "callback": lambda: setup(file),
    "resolver": lambda: dispatcher.handle(map_request(1, 0, length=PAGE)),
    "fileno": lambda: setup(File()),
    "handler of log records": lambda: setup(file),
}[where]

def loop():
    while True:
        call()

for _ in range(2):
    threading.Thread(target=loop, daemon=True).start()
entered.wait()
"""


CASES = [
    (where, what)
    for where in ("callback", "resolver", "fileno", "handler of log records")
    for what in ("short", "long", "endless", "naps", "blocked")
    # While a handler works, `logging.shutdown` waits for it, whatever called it.
    if (where, what) != ("handler of log records", "blocked")
]


@pytest.mark.parametrize(("where", "what"), CASES)
def test_exit_with_threads_in_python_code_that_rust_called(where: str, what: str) -> None:
    command = [sys.executable, "-c", PROGRAM, where, what]
    done = subprocess.run(command, env=with_support(), capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert (done.returncode, done.stderr) == (0, "")
