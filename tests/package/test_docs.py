"""The code in README.md and docs/ is short, type-checks and runs."""

import os
import re
import subprocess
import sys
import tempfile
import tomllib
from errno import EROFS
from pathlib import Path

import pytest

from daxmap import DaxMapper, guest
from daxmap.exits import Fault, Mmio
from daxmap.fuse import InitOut, reply
from support.guest_requests import READ_WRITE, SLOT, UNIQUE, answer, init_request, map_request
from support.guests import open_vm
from support.host import PAGE
from support.paths import PROJECT
from support.programs import TIMEOUT

# The VMM that the text speaks of.
VMM = """
import os
from daxmap.kvm import Vm

RAM_BASE, RAM_SIZE = 0, 2 << 20


class Server:
    def __init__(self, path: str, reply: bytes) -> None:
        self.fd = os.open(path, os.O_PATH)
        self.reply = reply

    def path_fd(self, nodeid: int) -> int:
        if nodeid != 2:
            raise FileNotFoundError(nodeid)
        return self.fd

    def answer(self, request: bytes) -> bytes:
        return self.reply


vm: Vm
server: Server
"""


def blocks(file: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (PROJECT / file).read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def snippet() -> str:
    (block,) = (block for block in blocks("docs/how-to/own-dispatcher.md") if "def answer(request: bytes)" in block)
    return block


def test_links_of_the_readme_work_on_a_package_index() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    text = (PROJECT / project["readme"]).read_text()
    links = dict(re.findall(r"^\[([^\]]+)\]: (.+)$", text, re.MULTILINE))
    inline = re.findall(r"\]\(([^)]+)\)", text)
    assert [link for link in (*links.values(), *inline) if not link.startswith("https://")] == []
    assert set(re.findall(r"(?<!!)\[([\w./-]+\.md)\](?![(:])", text)) <= links.keys()
    ours = re.compile(rf"{project['urls']['Source']}/(blob|tree)/main/(.+)")
    targets = [match.groups() for link in links.values() if (match := ours.fullmatch(link))]
    assert len(targets) > 10
    assert [path for _, path in targets if not (PROJECT / path).exists()] == []
    assert [path for kind, path in targets if (kind == "tree") != (PROJECT / path).is_dir()] == []


def test_first_example_runs_as_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(blocks("README.md")[0], "README.md", "exec"), {})  # noqa: S102
    check_first_example(capsys.readouterr().out)


def check_first_example(printed: str) -> None:
    read, shown, hole, *picture = printed.splitlines()
    assert read == "b'Hello, guest!'"
    assert "loads reach it, stores are refused" in shown
    assert f"a hole at window offset {PAGE:#x}" in hole
    assert picture[0] == 'DAX window "root": 128 MiB at 0x40000000-0x48000000'


def test_first_example_runs_pasted_line_by_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-i", "-q", "-W", "error"],
        input=blocks("README.md")[0],
        cwd=tmp_path,
        env=os.environ | {"HOME": str(tmp_path)},  # a prompt keeps its history there
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert "Error" not in done.stderr
    assert "Warning" not in done.stderr
    answers = {"13", str(PAGE)}  # what a prompt shows of calls that return something
    check_first_example("\n".join(line for line in done.stdout.splitlines() if line not in answers))


def test_device_is_the_same_in_both() -> None:
    assert blocks("README.md")[1:] == blocks("docs/how-to/file-server.md")


def test_device_is_short_and_runs_as_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    (device,) = blocks("docs/how-to/file-server.md")
    code = [line for line in device.splitlines() if line and not re.match("import|from", line)]
    assert len(code) <= 10
    exec(compile(device, "file-server.md", "exec"), {})  # noqa: S102
    printed = capsys.readouterr().out
    assert printed == "80 DAX is offered: no SETUPMAPPING came yet\n"
    for document in ("README.md", "docs/how-to/file-server.md"):
        assert f"This prints `{printed.rstrip()}`" in (PROJECT / document).read_text()


def test_machine_is_short_and_runs_as_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    open_vm().close()
    machine = blocks("docs/how-to/kvm.md")[0]
    code = [line for line in machine.splitlines() if line and not re.match("import|from", line)]
    assert len(code) <= 10
    exec(compile(machine, "kvm.md", "exec"), {})  # noqa: S102
    load, store = capsys.readouterr().out.splitlines()
    assert f"This prints `{load}`" in (PROJECT / "docs/how-to/kvm.md").read_text()
    assert store.startswith(("an MMIO exit, for a store to 0x200000", "EFAULT"))


def test_wiring_is_at_most_ten_lines(snippet: str) -> None:
    assert len([line for line in snippet.splitlines() if line]) <= 10


def test_wiring_type_checks(snippet: str, tmp_path: Path) -> None:
    program = tmp_path / "vmm.py"
    program.write_text(VMM + snippet)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(program)]
    done = subprocess.run(command, capture_output=True, check=False, text=True, cwd=tmp_path, timeout=TIMEOUT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_wiring_runs(snippet: str) -> None:
    own = reply(UNIQUE, InitOut(7, 38).build())
    with open_vm() as vm, tempfile.NamedTemporaryFile() as file:
        file.write(b"content")
        file.flush()
        names: dict[str, object] = {}
        exec(VMM, names)  # noqa: S102
        server = names["Server"](file.name, own)  # type: ignore[operator]
        names.update(vm=vm, server=server)
        exec(snippet, names)  # noqa: S102
        handle, mapper = names["answer"], names["mapper"]
        assert callable(handle)
        assert handle(init_request()) != own
        assert handle(map_request(2, SLOT)) == answer(0)
        assert mapper.read(mapper.base + SLOT, 7) == b"content"  # type: ignore[attr-defined]
        assert handle(map_request(3, 0)) == answer(5)  # a FileNotFoundError without an errno is a bug of the VMM's
        mapper.drain_all()  # type: ignore[attr-defined]
        os.close(server.fd)


def test_read_only_share_stays_read_only_in_the_wiring(snippet: str) -> None:
    """A guest that asks for a writable mapping gets none, and the file is not even opened for writing."""
    readonly = snippet.replace('[("root", 128 << 20)]', '[("root", 128 << 20, True)]')
    assert readonly != snippet
    with open_vm() as vm, tempfile.NamedTemporaryFile() as file:
        file.write(b"content")
        file.flush()
        names: dict[str, object] = {}
        exec(VMM, names)  # noqa: S102
        names.update(vm=vm, server=names["Server"](file.name, b""))  # type: ignore[operator]
        exec(readonly, names)  # noqa: S102
        handle, mapper = names["answer"], names["mapper"]
        assert callable(handle)
        assert isinstance(mapper, DaxMapper)
        with mapper:
            assert handle(map_request(2, 0, flags=READ_WRITE)) == answer(EROFS)
            assert handle(map_request(2, 0)) == answer(0)
            assert handle(map_request(2, 0, flags=READ_WRITE)) == answer(EROFS)
            with pytest.raises(PermissionError):
                mapper.write(mapper.base, b"changed")
            store = guest.store(mapper.base, 0x1234)
            assert isinstance(vm.run(store), Fault | Mmio)
        os.close(names["server"].fd)  # type: ignore[attr-defined]
        assert Path(file.name).read_bytes() == b"content"


def test_tests_that_guard_the_promises_are_there() -> None:
    named = re.findall(r"`((?:tests|rust)/[\w./-]+)(?:::(\w+))?`", (PROJECT / "SAFETY.md").read_text())
    assert len(named) > 20
    for path, test in named:
        assert (PROJECT / path).exists(), path
        assert not test or re.search(rf"\b(def|fn) {test}\(", (PROJECT / path).read_text()), (path, test)
