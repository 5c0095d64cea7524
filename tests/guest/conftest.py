"""A virtual machine of KVM, and a mapper over a memslot of it."""

from collections.abc import Iterator

import pytest

from daxmap import DaxMapper, KvmBackend
from daxmap.kvm import Vm
from support.guests import BASE, SIZE, open_vm


@pytest.fixture
def vm() -> Iterator[Vm]:
    with open_vm() as machine:
        yield machine


@pytest.fixture
def mapper(vm: Vm) -> Iterator[DaxMapper]:
    with DaxMapper(BASE, SIZE, KvmBackend(vm.fd, 1)) as mapper:
        yield mapper
