"""What the guest is told to do, and how long it takes: a round of it, share by share."""

from collections import defaultdict
from pathlib import Path

from linux_guest.bench.mounts import ALL, DAX, MARKED, PLAIN, SMALL, VIRTIOFSD, Machine, Mount
from linux_guest.guest import PAGE
from linux_guest.rig import MIB

SIZE = 64 * MIB
"""Of the large file: half of the window, and four times the small one."""
PAGES = SIZE // PAGE
RANDOM = 6151
"""A stride that has no factor in common with the number of pages: the order of a file that is read here and there."""
ORDERS = {"random": (RANDOM, 4096), "sequential": (1, PAGES)}
FILES = 50_000
AT_ONCE = 2_000
"""How many files a command of the guest's reads."""
SIZES = (4096, 16384, 65536, 262144, 1 << 20, 4 << 20)
OF_EACH_SIZE = 64
"""As many files as the window has ranges of 2 MiB."""

Seconds = dict[str, dict[Mount, list[float]]]
"""By what was done and where: a value a round."""


def fill(host: Path) -> None:
    """What the directory has: a large file, 50,000 small ones, and some of each size."""
    (host / "large").write_bytes(b"a byte that is no zero" * (SIZE // 22 + 1))
    for folder, length, count in (("small", PAGE, FILES), *((f"of-{size}", size, OF_EACH_SIZE) for size in SIZES)):
        (host / folder).mkdir()
        for number in range(count):
            (host / folder / f"{number:05}").write_bytes((b"%05d" % number * (length // 5 + 1))[:length])


def new_seconds() -> Seconds:
    """None yet."""
    return defaultdict(lambda: defaultdict(list))


def run_round(machine: Machine, seconds: Seconds) -> None:
    """Everything once."""
    for mount in ALL:
        if mount in {DAX, SMALL, PLAIN, VIRTIOFSD}:
            _large_file(machine, mount, seconds)
        if mount in {DAX, MARKED, PLAIN, VIRTIOFSD}:
            _small_files(machine, mount, seconds)
        if mount in {DAX, PLAIN}:
            _sizes(machine, mount, seconds)


def _large_file(machine: Machine, mount: Mount, seconds: Seconds) -> None:
    """Cold, then once more, here and there and from front to back, by mmap(2) and by read(2)."""
    guest, path = machine.guest, f"{mount.path}/large"
    for order, (stride, count) in ORDERS.items():
        with machine.mounted(mount), guest.mapped(path, SIZE) as address:
            for state in ("cold", "warm"):
                time = guest.touch(address, PAGES, stride, count)
                seconds[f"{order}, mmap, {state}"][mount].append(time)
        with machine.mounted(mount), guest.opened(path) as fd:
            for state in ("cold", "warm"):
                time = guest.read_pages(fd, PAGES, stride, count)
                seconds[f"{order}, read, {state}"][mount].append(time)


def _small_files(machine: Machine, mount: Mount, seconds: Seconds) -> None:
    with machine.mounted(mount):
        reads = (machine.guest.read_files(f"{mount.path}/small", at, AT_ONCE) for at in range(0, FILES, AT_ONCE))
        seconds[f"{FILES:,} files of 4 KiB"][mount].append(sum(reads))


def _sizes(machine: Machine, mount: Mount, seconds: Seconds) -> None:
    """Files that are read whole, once and once more."""
    for size in SIZES:
        with machine.mounted(mount):
            for state in ("cold", "warm"):
                time = machine.guest.read_files(f"{mount.path}/of-{size}", 0, OF_EACH_SIZE)
                seconds[f"files of {size // 1024} KiB, {state}"][mount].append(time)
