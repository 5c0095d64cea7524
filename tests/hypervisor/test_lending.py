"""Lent memory of a guest whose hypervisor does not let go of it."""

from errno import ENOSPC
from pathlib import Path

import pytest

from support.children import run_in_child
from support.files import HostFile
from support.host import PAGE, peek, vmas
from support.limits import errno_of
from support.recording import BASE, Fault, ProtectingHypervisor, RecordingHypervisor
from support.rig import Rig

REFUSED = Fault(returns=1)
IN_DOUBT = Fault(raises=ValueError("refused"))


@pytest.fixture(params=[RecordingHypervisor, ProtectingHypervisor])
def hypervisor(request: pytest.FixtureRequest) -> RecordingHypervisor:
    hypervisor: RecordingHypervisor = request.param()
    return hypervisor


def is_mapped(file: HostFile) -> bool:
    return any(vma.shown.inode == file.inode for vma in vmas())


def test_what_the_guest_keeps_at_the_drain_is_not_freed_with_the_loan(
    hypervisor: RecordingHypervisor, file: HostFile
) -> None:
    mapper = hypervisor.mapper()
    mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=True)
    with mapper.resolve(BASE, PAGE, writable=True):
        hypervisor.fail_next(REFUSED, REFUSED)
        mapper.drain_all()
    assert mapper.stats().leaked_count == 1
    assert is_mapped(file), "the guest still reaches it"


@pytest.mark.parametrize("settled_before_the_end", [True, False])
def test_unknown_memory_is_freed_when_neither_guest_nor_device_has_it(
    hypervisor: RecordingHypervisor,
    file: HostFile,
    settled_before_the_end: bool,  # noqa: FBT001
) -> None:
    with hypervisor.mapper() as mapper:
        mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=True)
        loan = mapper.resolve(BASE, PAGE, writable=True)
        [(address, _)] = loan.__enter__()
        hypervisor.fail_next(IN_DOUBT, IN_DOUBT)
        mapper.reset()
        assert mapper.stats().lost_count == 1
        if settled_before_the_end:
            mapper.remove_range(0, PAGE)
            assert hypervisor.book == {}
            assert peek(address, PAGE) == file.read(0, PAGE), "the device still has it"
            loan.__exit__(None, None, None)
        else:
            loan.__exit__(None, None, None)
            assert is_mapped(file), "the guest may still reach it"
            mapper.remove_range(0, PAGE)
        assert not is_mapped(file)


def test_lent_memory_that_a_reset_took_shows_what_it_showed(hypervisor: RecordingHypervisor, file: HostFile) -> None:
    with hypervisor.mapper() as mapper:
        mapper.setup_mapping(file.fd, 0, 0, 2 * PAGE, writable=True)
        with mapper.resolve(BASE + PAGE, PAGE, writable=True) as [(address, _)]:
            mapper.reset()
            assert hypervisor.book == {}
            assert peek(address, PAGE) == file.read(PAGE, PAGE)
        assert not is_mapped(file)


def test_upgrade_in_the_middle_is_refused_before_the_hypervisor_is_asked(
    hypervisor: RecordingHypervisor, file: HostFile
) -> None:
    with hypervisor.mapper() as mapper:
        mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=False)
        calls = len(hypervisor.calls)
        with mapper.resolve(BASE, PAGE, writable=False), pytest.raises(OSError, match="lent to a device"):
            mapper.setup_mapping(file.fd, 0, 0, PAGE, writable=True)
        assert len(hypervisor.calls) == calls


def lent_memory_is_charged(rig: Rig) -> None:
    """A guest that restarts again and again, while devices are at work, uses up no more than the budget."""
    file, many = rig.file(1), 3000
    loans = []

    def lend_and_restart() -> None:
        mapper = rig.open(1 << 30).mapper
        for page in range(many):
            mapper.setup_mapping(file.fd, 0, page * PAGE, PAGE, writable=False)
        loan = mapper.resolve(mapper.base, many * PAGE, writable=False)
        loan.__enter__()
        loans.append(loan)
        mapper.reset()

    errno = 0
    while not errno and len(loans) < 100:
        errno = errno_of(lend_and_restart)
    assert errno == ENOSPC
    assert sum(1 for _ in vmas()) < int(Path("/proc/sys/vm/max_map_count").read_text()) * 3 // 4
    for loan in loans:
        loan.__exit__(None, None, None)
    for subject in rig.subjects:
        subject.mapper.reset()
    assert not is_mapped(file)


def test_lent_memory_is_charged(tmp_path: Path) -> None:
    run_in_child(lent_memory_is_charged, "hypervisor", tmp_path)
