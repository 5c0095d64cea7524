"""A snapshot of a guest that uses its DAX window: the guest goes on reading in another process.

    python examples/snapshot.py

Such a guest does not ask for its mappings again (FUSE_SETUPMAPPING), so the VMM that restores it has to set them up.
This process maps two files, has the guest read them, and writes the state of the window to a file, as JSON. Then it
starts itself anew, and there the same guest reads the files through the restored window. A VMM of your own saves RAM,
CPUs and devices beside it.

Runs on KVM, else on unicorn. Exits with 0 if the guest read the same, else with 1.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from tempfile import TemporaryDirectory

from daxmap import DaxMapper, HypervisorBackend, KvmBackend, WindowLayout, guest
from daxmap.exits import Exit, Halted
from daxmap.kvm import Vm

RAM_SIZE = 2 << 20
SHARE = WindowLayout(0, RAM_SIZE, {"files": "8MiB"})["files"]
WINDOW_SLOT = 1
LENGTH = 64 << 10  # of each file
ADDRESSES = {"first": SHARE.base, "second": SHARE.base + (2 << 20)}


class Guest:
    """A machine with one CPU, and the mapper of its window."""

    def __init__(self, run: Callable[[guest.Program], Exit], mapper: DaxMapper) -> None:
        self._run, self.mapper = run, mapper

    def checksum(self, address: int) -> int:
        """The sum of the words of a file, as the guest reads it by load."""
        end = self._run(guest.checksum(address, LENGTH))
        if not isinstance(end, Halted):
            raise OSError(f"the guest was stopped: {end}; {self.mapper.explain(address)}")
        return end.values[0]


@contextmanager
def machine() -> Iterator[Guest]:
    """A guest on KVM, or where there is none on unicorn, with an empty window."""
    try:
        vm = Vm(RAM_SIZE)
    except OSError:
        from daxmap.unicorn import UnicornVm  # noqa: PLC0415  (it takes an extra: pip install 'daxmap[demo]')

        emulated = UnicornVm(RAM_SIZE)
        with DaxMapper.for_share(SHARE, HypervisorBackend(emulated)) as mapper:
            yield Guest(emulated.run, mapper)
    else:
        with vm, DaxMapper.for_share(SHARE, KvmBackend(vm.fd, WINDOW_SLOT)) as mapper:
            yield Guest(vm.run, mapper)


def save(directory: Path) -> None:
    """Map the files, have the guest read them, and save the state of the window."""
    with machine() as running:
        for name, address in ADDRESSES.items():
            with Path(directory, name).open("rb") as file:
                running.mapper.map_file(file, window_offset=address - SHARE.base)
        sums = {name: running.checksum(address) for name, address in ADDRESSES.items()}
        snapshot = {"window": running.mapper.export_state(), "sums": sums}
        Path(directory, "snapshot.json").write_text(json.dumps(snapshot))
        print(f"process {os.getpid()}: the guest read {sums}; saved {running.mapper!r}")


def restore(directory: Path) -> bool:
    """Restore the window, and have the guest read on. True if it reads the same."""
    snapshot = json.loads(Path(directory, "snapshot.json").read_text())
    files = {(path.stat().st_dev, path.stat().st_ino): path for path in directory.iterdir()}

    def opener(dev: int, ino: int, writable: bool) -> FileIO:  # noqa: FBT001  (a VMM knows its files by its own table)
        return FileIO(files[dev, ino], "r+" if writable else "r")

    with machine() as restored:
        restored.mapper.restore_state(snapshot["window"], opener)
        sums = {name: restored.checksum(address) for name, address in ADDRESSES.items()}
        print(f"process {os.getpid()}: the guest reads {sums} through {restored.mapper!r}")
    same: bool = sums == snapshot["sums"]
    return same


def main(arguments: list[str]) -> int:
    """Return the exit code."""
    if arguments:  # the second process
        return 0 if restore(Path(arguments[0])) else 1
    with TemporaryDirectory() as directory:
        for name in ADDRESSES:
            Path(directory, name).write_bytes(os.urandom(LENGTH))
        save(Path(directory))
        return subprocess.run([sys.executable, __file__, directory], check=False).returncode  # noqa: S603


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
