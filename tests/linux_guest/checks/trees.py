"""Many files: small ones, a tree out of an archive, and all of it again after another mount."""

import hashlib
import io
import random
import tarfile
from pathlib import Path

from linux_guest.rig import Checks, Rig, same, same_bytes

checks = Checks()


# One line a file, in the order of names. MD5 is the quickest that busybox has.
_SUMS = "find . -type f | sort | tr '\\n' '\\0' | xargs -0 md5sum"


def sums(folder: Path) -> list[str]:
    """What `_SUMS` prints of a tree of the host."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return [f"{hashlib.md5((folder / name).read_bytes()).hexdigest()}  ./{name}\n" for name in files]  # noqa: S324


def same_tree(rig: Rig, name: str) -> None:
    """All files of a tree are in the guest what they are on the host. If not, it is said which are wrong."""
    expected = sums(rig.always.host / name)
    whole = hashlib.md5("".join(expected).encode()).hexdigest()  # noqa: S324
    if rig.guest.shell(f"cd {rig.always.path(name)}; {_SUMS} >/tmp/sums; md5sum </tmp/sums").split()[0] == whole:
        return
    found = [
        line
        for start in range(1, len(expected) + 1, 20)
        for line in rig.guest.shell(f"sed -n {start},{start + 19}p /tmp/sums").splitlines(keepends=True)
    ]
    wrong = [line for line in expected if line not in found]
    again = rig.guest.shell(f"cd {rig.always.path(name)}; md5sum {wrong[0].split()[1]}" if wrong else "true")
    names = [line.split()[1] for line in wrong[:5]]
    later = "right" if wrong and again == wrong[0] else "wrong"
    zeros = [line for line in found if line not in expected and _is_of_zeros(rig.always.host / name, line)]
    raise AssertionError(
        f"of {len(expected)} files {len(found)} are found, {len(wrong)} wrong, {len(zeros)} of them zeros: {names}; "
        f"the first is {later} now"
    )


def _is_of_zeros(folder: Path, line: str) -> bool:
    found, name = line.split()
    return found == hashlib.md5(bytes((folder / name).stat().st_size)).hexdigest()  # noqa: S324


def make_files(rig: Rig, name: str, count: int) -> None:
    """A tree on the host, of files of up to 64 KiB."""
    for number in range(count):
        (rig.always.host / name / str(number % 7)).mkdir(parents=True, exist_ok=True)
        rig.always.fill(f"{name}/{number % 7}/{number}", number * 7919 % 65536)


@checks
def thousands_of_small_files(rig: Rig) -> None:
    folder = rig.always.host / "small"
    folder.mkdir()
    path = rig.always.path("small")
    rig.guest.shell(f"cd {path}; i=0; while [ $i -lt 2000 ]; do echo file $i >$i; i=$((i+1)); done")
    for number in range(2000):
        same((folder / str(number)).read_text(), f"file {number}\n", f"the host's file {number}")
    same_tree(rig, "small")


@checks
def a_tree_out_of_an_archive(rig: Rig) -> None:
    dice = random.Random(1)  # noqa: S311
    archive = rig.always.host / "tree.tar"
    with tarfile.open(archive, "w") as tar:
        for number in range(200):
            member = tarfile.TarInfo(f"{number % 7}/{number % 11}/file-{number}")
            content = dice.randbytes(int(dice.expovariate(1 / 20_000)))
            member.size, member.mode, member.mtime = len(content), 0o640, 1_000_000_000 + number
            tar.addfile(member, io.BytesIO(content))
    rig.guest.shell(f"cd {rig.always.mount_point}; mkdir tree; tar xf tree.tar -C tree")
    folder = rig.always.host / "tree"
    with tarfile.open(archive) as tar:
        for member in tar:
            stream = tar.extractfile(member)
            assert stream is not None
            same_bytes((folder / member.name).read_bytes(), stream.read(), f"the host's {member.name}")
            same(int((folder / member.name).stat().st_mtime), member.mtime, f"time of the host's {member.name}")
    same_tree(rig, "tree")


@checks
def a_copy_of_a_tree(rig: Rig) -> None:
    make_files(rig, "tree-to-copy", 100)
    rig.guest.shell(f"cd {rig.always.mount_point}; cp -a tree-to-copy copy-of-tree")
    wrong = set(sums(rig.always.host / "copy-of-tree")) ^ set(sums(rig.always.host / "tree-to-copy"))
    assert not wrong, f"not the same in tree and copy: {sorted(wrong)[:4]}"
    rig.guest.shell(f"cd {rig.always.mount_point}; rm -r copy-of-tree")
    assert not (rig.always.host / "copy-of-tree").exists(), "the host still has it"


@checks
def a_second_mount(rig: Rig) -> None:
    share, guest = rig.always, rig.guest
    make_files(rig, "mounted-again", 50)
    same_tree(rig, "mounted-again")
    guest.unmount(share.mount_point)
    same(share.count("live_mappings"), 0, "live mappings after umount")
    guest.mount(share.server.tag, share.mount_point, share.options)
    before = share.count("setup_count")
    same_tree(rig, "mounted-again")
    assert share.count("setup_count") > before, "nothing is mapped after a second mount"
