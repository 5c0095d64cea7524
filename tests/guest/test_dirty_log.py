"""The log of the pages that a guest stores to: switched on and off, while the guest runs or there is none."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from errno import EBUSY, EINVAL, EIO, ENODEV, ENOMEM, EPERM
from pathlib import Path

import pytest

from daxmap import DaxMapper, KvmBackend, guest
from daxmap.exits import Halted
from daxmap.kvm import KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY, Vm
from support import faults
from support.children import Body, Scenarios, name_of, run_in_child
from support.dirty_log import take_dirty_pages
from support.faults import Call, Effect, Fault
from support.forks import in_fork
from support.guests import BASE, FILE_SIZE, MARK, SIZE, is_refusal, make_file, map_file, open_files, open_vm
from support.host import PAGE
from support.limits import errno_of
from support.rig import Rig
from support.rigs import KvmRig

SLOT = 1
of_kvm = Scenarios()


@pytest.fixture(scope="module", autouse=True)
def kvm_that_logs() -> None:
    """Skips where KVM cannot be used, or gives no log."""
    with open_vm() as vm:
        backend = KvmBackend(vm.fd, SLOT)
        backend.start_dirty_log()
        with DaxMapper(BASE, SIZE, backend):
            try:
                take_dirty_pages(vm, SLOT, SIZE)
            except OSError as error:
                pytest.skip(f"this KVM gives no dirty log: {error}")


@pytest.fixture
def backend(vm: Vm) -> KvmBackend:
    return KvmBackend(vm.fd, SLOT)


@pytest.fixture
def mapper(backend: KvmBackend) -> Iterator[DaxMapper]:
    with DaxMapper(BASE, SIZE, backend) as mapper:
        yield mapper


@pytest.fixture
def path(tmp_path: Path) -> Path:
    make_file(tmp_path / "file")
    return tmp_path / "file"


def store(vm: Vm, page: int) -> None:
    assert vm.run(guest.store(BASE + page * PAGE, MARK)) == Halted(())


def logged(vm: Vm) -> set[int] | None:
    """The pages stored to since the last time, or None where there is no log."""
    try:
        return take_dirty_pages(vm, SLOT, SIZE)
    except FileNotFoundError:
        return None


def test_slot_keeps_no_log_unless_it_is_told_to(vm: Vm, mapper: DaxMapper, path: Path) -> None:
    map_file(mapper, path, writable=True)
    store(vm, 1)
    assert logged(vm) is None


def test_page_that_the_guest_stores_to_is_logged_and_no_other(
    vm: Vm, backend: KvmBackend, mapper: DaxMapper, path: Path
) -> None:
    map_file(mapper, path, writable=True)
    store(vm, 1)
    backend.start_dirty_log()
    assert logged(vm) == set()
    store(vm, 2)
    mapper.write(BASE, b"the host's own")
    assert logged(vm) == {2}
    vm.run(guest.checksum(BASE, FILE_SIZE))
    logged(vm)  # KVM may log a load too: a page that is writable in the process, it gives to the guest as such
    store(vm, 1)
    store(vm, 3)
    assert logged(vm) == {1, 3}


def test_log_that_is_wanted_before_there_is_a_mapper_begins_with_it(vm: Vm, backend: KvmBackend, path: Path) -> None:
    backend.start_dirty_log()
    with DaxMapper(BASE, SIZE, backend) as mapper:
        map_file(mapper, path, writable=True)
        store(vm, 3)
        assert logged(vm) == {3}


def test_last_wish_before_there_is_a_mapper_holds(vm: Vm, backend: KvmBackend) -> None:
    backend.start_dirty_log()
    backend.stop_dirty_log()
    with DaxMapper(BASE, SIZE, backend):
        assert logged(vm) is None


def test_log_is_switched_off_and_on_again(vm: Vm, backend: KvmBackend, mapper: DaxMapper, path: Path) -> None:
    map_file(mapper, path, writable=True)
    for page in range(3):
        backend.start_dirty_log()
        store(vm, page)
        assert logged(vm) == {page}
        backend.stop_dirty_log()
        store(vm, 3)
        assert logged(vm) is None


def test_log_that_is_on_is_not_lost_when_it_is_switched_on(
    vm: Vm, backend: KvmBackend, mapper: DaxMapper, path: Path
) -> None:
    map_file(mapper, path, writable=True)
    backend.start_dirty_log()
    store(vm, 2)
    backend.start_dirty_log()
    assert logged(vm) == {2}


def test_mappings_come_and_go_while_the_log_is_kept(vm: Vm, backend: KvmBackend, mapper: DaxMapper, path: Path) -> None:
    backend.start_dirty_log()
    map_file(mapper, path)
    assert is_refusal(vm.run(guest.store(BASE, MARK)), BASE, is_write=True)
    map_file(mapper, path, writable=True)
    map_file(mapper, path, FILE_SIZE, writable=True)
    store(vm, 5)
    mapper.remove_mapping(FILE_SIZE, FILE_SIZE)
    assert 5 in (logged(vm) or ()), "the log is of the window's pages, whatever has become of the mapping"
    map_file(mapper, path, FILE_SIZE, writable=True)
    store(vm, 6)
    assert logged(vm) == {6}


def test_closed_mapper_has_no_log(vm: Vm, backend: KvmBackend, mapper: DaxMapper) -> None:
    backend.start_dirty_log()
    mapper.close()
    assert logged(vm) is None
    for switch in (backend.start_dirty_log, backend.stop_dirty_log):
        assert errno_of(switch) == ENODEV


def test_backend_that_outlives_its_mapper_keeps_no_vm(vm: Vm, backend: KvmBackend, mapper: DaxMapper) -> None:
    before = open_files("kvm-vm")
    mapper.close()
    assert open_files("kvm-vm") == before - 1
    vm.close()
    assert open_files("kvm-vm") == before - 2
    assert errno_of(backend.start_dirty_log) == ENODEV


def test_forked_child_leaves_its_parents_log_alone(vm: Vm, backend: KvmBackend, mapper: DaxMapper, path: Path) -> None:
    map_file(mapper, path, writable=True)
    backend.start_dirty_log()
    store(vm, 1)

    def refused() -> None:
        for switch in (backend.start_dirty_log, backend.stop_dirty_log):
            assert errno_of(switch) == EPERM
        mine = KvmBackend(vm.fd, SLOT + 1)
        mine.start_dirty_log()  # no call of KVM's yet, which would say EIO: the VM is the parent's
        assert errno_of(lambda: DaxMapper(BASE + SIZE, SIZE, mine)) == EIO

    in_fork(refused)
    assert logged(vm) == {1}


def test_backend_of_the_parents_serves_no_mapper_in_a_child(vm: Vm, backend: KvmBackend) -> None:
    def refused() -> None:
        assert errno_of(lambda: DaxMapper(BASE, SIZE, backend)) == EPERM

    in_fork(refused)
    with DaxMapper(BASE, SIZE, backend):
        assert logged(vm) is None


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.usefixtures("mapper")
def test_forked_child_waits_for_no_switch(backend: KvmBackend) -> None:
    """The thread that has the lock in the parent, mostly, is not there in the child to let it go."""
    stop = threading.Event()

    def keep_switching() -> None:
        while not stop.is_set():
            backend.start_dirty_log()
            backend.stop_dirty_log()

    def refused() -> None:
        assert errno_of(backend.start_dirty_log) == EPERM

    threads = [threading.Thread(target=keep_switching) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            in_fork(refused)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_threads_switch_the_log_while_mappers_come_and_go(vm: Vm, path: Path) -> None:
    backends = [KvmBackend(vm.fd, SLOT) for _ in range(20)]
    errors: list[int] = []

    def switch() -> None:
        for number in range(2000):
            try:
                backend = backends[number % len(backends)]
                backend.stop_dirty_log() if number % 3 == 0 else backend.start_dirty_log()
            except OSError as error:
                errors.append(error.errno or 0)

    threads = [threading.Thread(target=switch) for _ in range(2)]
    for thread in threads:
        thread.start()
    for backend in backends:
        with DaxMapper(BASE, SIZE, backend) as mapper:
            map_file(mapper, path, writable=True)
            store(vm, 1)
    for thread in threads:
        thread.join()
    assert set(errors) <= {ENODEV}
    assert logged(vm) is None
    backend = KvmBackend(vm.fd, SLOT)
    with DaxMapper(BASE, SIZE, backend) as mapper:
        map_file(mapper, path, writable=True)
        backend.start_dirty_log()
        store(vm, 1)
        assert logged(vm) == {1}


# A KVM that refuses, in a process of its own: tests/support/faults.c stands between daxmap and the kernel.


@of_kvm
def refusal_leaves_the_slot_as_it_was(rig: Rig) -> None:
    assert isinstance(rig, KvmRig)
    backend = KvmBackend(rig.vm.fd, SLOT)
    with DaxMapper(BASE, SIZE, backend) as mapper:
        fd = rig.file().fd
        mapper.setup_mapping(fd, 0, 0, FILE_SIZE, writable=True)
        faults.plan(Call.SET_SLOT, Fault(ENOMEM))
        with pytest.raises(OSError, match=f"of slot {SLOT}, for its dirty log: ") as caught:
            backend.start_dirty_log()
        assert caught.value.errno == ENOMEM
        store(rig.vm, 1)
        assert logged(rig.vm) is None
        backend.start_dirty_log()
        store(rig.vm, 2)
        faults.plan(Call.SET_SLOT, Fault(EINVAL))
        assert errno_of(backend.stop_dirty_log) == EINVAL
        assert logged(rig.vm) == {2}
        region = faults.last_region()
        assert (region.slot, region.flags) == (SLOT, KVM_MEM_LOG_DIRTY_PAGES)
        assert (region.guest_phys_addr, region.memory_size, region.userspace_addr) == (BASE, SIZE, mapper.host_address)


@of_kvm
def wish_outlives_a_mapper_that_could_not_be_made(rig: Rig) -> None:
    assert isinstance(rig, KvmRig)
    backend = KvmBackend(rig.vm.fd, SLOT)
    backend.start_dirty_log()
    faults.plan(Call.SET_SLOT, Fault(ENOMEM))
    assert errno_of(lambda: DaxMapper(BASE, SIZE, backend, readonly=True)) == ENOMEM
    with DaxMapper(BASE, SIZE, backend):
        assert faults.last_region().flags == KVM_MEM_LOG_DIRTY_PAGES, "and the mapper that failed has left nothing"


@of_kvm
def log_of_a_read_only_window_keeps_it_read_only(rig: Rig) -> None:
    assert isinstance(rig, KvmRig)
    backend = KvmBackend(rig.vm.fd, SLOT)
    with DaxMapper(BASE, SIZE, backend, readonly=True) as mapper:
        mapper.setup_mapping(rig.file().fd, 0, 0, FILE_SIZE, writable=False)
        backend.start_dirty_log()
        assert faults.last_region().flags == KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY
        assert is_refusal(rig.vm.run(guest.store(BASE, MARK)), BASE, is_write=True)
        assert logged(rig.vm) == set()
        backend.stop_dirty_log()
        assert faults.last_region().flags == KVM_MEM_READONLY


@of_kvm
def window_that_is_given_up_has_no_log(rig: Rig) -> None:
    """Not even where its slot could not be deleted: the VM is not called any more."""
    assert isinstance(rig, KvmRig)
    for failed_deletions in (0, 2):
        slot = SLOT + failed_deletions
        backend = KvmBackend(rig.vm.fd, slot)
        mapper = DaxMapper(BASE + failed_deletions * SIZE, SIZE, backend)
        before = open_files("kvm-vm")
        faults.plan(Call.PLACE, Fault(ENOMEM, Effect.INTRUDE))
        faults.plan(Call.DELETE_SLOT, Fault(EBUSY, times=failed_deletions))
        with suppress(OSError):
            mapper.setup_mapping(rig.file().fd, 0, 0, FILE_SIZE, writable=False)
        assert mapper.closed
        calls = faults.count(Call.SET_SLOT)
        assert errno_of(backend.start_dirty_log) == ENODEV
        assert faults.count(Call.SET_SLOT) == calls
        assert open_files("kvm-vm") == before - 1


@pytest.mark.parametrize("body", of_kvm, ids=name_of)
def test_fault(fault_library: Path, tmp_path: Path, body: Body) -> None:
    run_in_child(body, "kvm", tmp_path, preload=fault_library)
