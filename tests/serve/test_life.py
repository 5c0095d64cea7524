"""From the socket's first moment to its last."""

import os
import re
import signal
import stat
from pathlib import Path

import pytest

from daxmap import DaxStats
from serve.conftest import Serve

pytestmark = pytest.mark.usefixtures("share")


def test_arguments_for_qemu_and_crosvm_are_printed_when_the_socket_is_there(serve: Serve) -> None:
    serving = serve("--threads", "3", "--tag", "my share")
    assert serving.socket.is_socket()
    assert stat.S_IMODE(serving.socket.stat().st_mode) & 0o077 == 0
    qemu = serving.ready["qemu"]
    assert "socket,id=daxmap,path=s" in qemu
    assert "vhost-user-test-device-pci,chardev=daxmap,virtio-id=26,num_vqs=4,config_size=40" in qemu
    assert serving.ready["crosvm"] == ["--vhost-user", "type=fs,socket=s"]
    assert serving.ready["mount"] == ["mount", "-t", "virtiofs", "-o", "dax", "my share", "/mnt"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("connected", [False, True])
def test_signal_ends_it_cleanly(serve: Serve, number: int, connected: bool) -> None:  # noqa: FBT001
    serving = serve()
    if connected:
        front_end = serving.connect()
        front_end.ask()
    serving.signal(number)
    code, output, errors = serving.end()
    assert (code, errors) == (0, "")
    assert [line["front_end"] for line in output] == ["gone" if connected else "none"]
    assert not serving.socket.exists()


def test_signals_interrupt_no_thread_of_the_device(serve: Serve) -> None:
    serving = serve()
    front_end = serving.connect()
    front_end.ask()
    wanted = {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1}
    threads = list(Path(f"/proc/{serving.pid}/task").iterdir())
    assert len(threads) > 3
    for thread in threads:
        match = re.search(r"SigBlk:\t(\w+)", (thread / "status").read_text())
        assert match
        blocked = {number for number in wanted if int(match[1], 16) >> (number - 1) & 1}
        assert blocked == (set() if thread.name == str(serving.pid) else wanted)


def test_status_has_the_state_and_all_counters(serve: Serve) -> None:
    status = serve().status()
    assert set(status) == {"dax", "reason", "front_end", "stats"}
    assert (status["dax"], status["front_end"]) == ("waiting", "none")
    assert status["reason"]
    assert set(status["stats"]) == set(DaxStats().as_dict())


def test_dax_is_off_without_a_window(serve: Serve) -> None:
    serving = serve("--dax", "never")
    assert serving.status()["dax"] == "off"
    assert serving.ready["mount"] == ["mount", "-t", "virtiofs", "daxmap", "/mnt"]


def test_one_front_end_after_another(serve: Serve) -> None:
    serving = serve()
    for _ in range(3):
        front_end = serving.connect()
        front_end.ask()
        assert serving.status()["front_end"] == "connected"
        front_end.close()
    serving.signal(signal.SIGTERM)
    code, output, errors = serving.end()
    assert (code, errors) == (0, "")
    assert output[-1]["front_end"] == "gone"


def test_second_front_end_waits_for_the_first(serve: Serve) -> None:
    serving = serve()
    first, second = serving.connect(), serving.connect()
    first.ask()
    first.close()
    second.ask()


def test_once_ends_with_the_first_front_end_that_says_something(serve: Serve) -> None:
    serving = serve("--once")
    serving.connect().close()
    front_end = serving.connect()
    front_end.ask()
    front_end.close()
    code, output, errors = serving.end()
    assert (code, errors) == (0, "")
    assert output[-1]["front_end"] == "gone"
    assert not serving.socket.exists()


def test_front_end_that_talks_nonsense_is_let_go_of(serve: Serve) -> None:
    serving = serve()
    front_end = serving.connect()
    front_end.ask()
    assert front_end.say(b"\xff" * 64) == b""
    serving.connect().ask()
    serving.signal(signal.SIGTERM)
    code, _, errors = serving.end()
    assert code == 0
    assert errors.startswith("daxmap serve: the front end is let go of: ")
    assert errors.count("\n") == 1


def test_socket_of_somebody_else_is_left_alone(serve: Serve) -> None:
    serving = serve()
    serving.socket.unlink()
    serving.socket.write_text("mine")
    serving.signal(signal.SIGTERM)
    assert serving.end()[0] == 0
    assert serving.socket.read_text() == "mine"


def test_it_serves_on_when_nobody_reads_what_it_prints(serve: Serve) -> None:
    serving = serve()
    serving.close_output()
    serving.signal(signal.SIGUSR1)
    serving.connect().ask()
    os.kill(serving.pid, signal.SIGTERM)
    assert os.waitpid(serving.pid, 0)[1] == 0
    assert not serving.socket.exists()


def test_directory_that_the_host_replaces_is_served_as_it_was(serve: Serve, share: Path) -> None:
    serving = serve()
    share.rename(share.with_name("elsewhere"))
    share.mkdir()
    serving.connect().ask()
    serving.signal(signal.SIGTERM)
    assert serving.end()[0] == 0
