"""What the guest is told to do, and how long it takes: a round of it, share by share."""

from collections import defaultdict
from pathlib import Path

from linux_guest.bench.mounts import DAX, MARKED, PLAIN, SMALL, VIRTIOFSD, Machine, Mount
from linux_guest.guest import PAGE
from linux_guest.rig import MIB

SIZE = 64 * MIB
"""Of the large file: half of the window, and four times the small one."""
PAGES = SIZE // PAGE
RANDOM = 6151
"""A stride that has no factor in common with the number of pages: the order of a file that is read here and there."""
ORDERS = {"random": (RANDOM, 4096), "sequential": (1, PAGES)}
FEW_VISITS = 256
FILES = 50_000
FILES_A_ROUND = 10_000
FEW_FILES = 500
"""As many are read where each takes long."""
AT_ONCE = 500
"""How many files a command of the guest's reads."""
SIZES = (4096, 65536, 262144, 1 << 20, 2 << 20, 4 << 20)
FITTING, TOO_MANY = 32, 96
"""How many files of a size are read: less than the window has ranges of 2 MiB for, and more."""

Seconds = dict[str, dict[Mount, list[float]]]
"""By what was done and where: a value a round."""


def fill(host: Path) -> None:
    """What the directory has: a large file, 50,000 small ones, and some of each size."""
    (host / "large").write_bytes(b"a byte that is no zero" * (SIZE // 22 + 1))
    for folder, length, count in (("small", PAGE, FILES), *((f"of-{size}", size, TOO_MANY) for size in SIZES)):
        (host / folder).mkdir()
        for number in range(count):
            (host / folder / f"{number:05}").write_bytes((b"%05d" % number * (length // 5 + 1))[:length])


def new_seconds() -> Seconds:
    """None yet."""
    return defaultdict(lambda: defaultdict(list))


def run_round(machine: Machine, seconds: Seconds, number: int) -> None:
    """Everything once: the large file, small files that no round has read before, and files of each size."""
    for mount in (DAX, PLAIN, VIRTIOFSD):
        _large_file(machine, mount, seconds)
    for mount in (DAX, SMALL, PLAIN):
        _window(machine, mount, seconds)
    for mount in (DAX, MARKED, PLAIN, VIRTIOFSD):
        _small_files(machine, mount, seconds, number * FILES_A_ROUND)
    for mount in (DAX, PLAIN):
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


def _window(machine: Machine, mount: Mount, seconds: Seconds) -> None:
    """The same file again and again, which a small window can't hold."""
    for order, (stride, count) in (ORDERS | {"random": (RANDOM, FEW_VISITS)}).items():
        with machine.mounted(mount), machine.guest.mapped(f"{mount.path}/large", SIZE) as address:
            machine.guest.touch(address, PAGES, stride, count)
            seconds[f"{order}, again"][mount].append(machine.guest.touch(address, PAGES, stride, count))


def _small_files(machine: Machine, mount: Mount, seconds: Seconds, first: int) -> None:
    """Seconds a file."""
    count = FEW_FILES if mount is DAX else FILES_A_ROUND
    with machine.mounted(mount):
        starts = range(first, first + count, AT_ONCE)
        total = sum(machine.guest.read_files(f"{mount.path}/small", start, AT_ONCE) for start in starts)
        seconds["a small file"][mount].append(total / count)


def _sizes(machine: Machine, mount: Mount, seconds: Seconds) -> None:
    """Files that are read whole, once and once more; then so many that they take the window from each other."""
    for size in SIZES:
        folder = f"{mount.path}/of-{size}"
        with machine.mounted(mount):
            for state, count in (("first", FITTING), ("second", FITTING), ("all", TOO_MANY), ("crowded", TOO_MANY)):
                seconds[f"{size}, {state}"][mount].append(machine.guest.read_files(folder, 0, count))
