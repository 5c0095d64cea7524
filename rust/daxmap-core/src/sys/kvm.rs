//! A memslot of a KVM virtual machine: Documentation/virt/kvm/api.rst, 4.35.

use super::{Errno, Reservation, duplicate};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// `_IOW(KVMIO, 0x46, struct kvm_userspace_memory_region)` of include/uapi/linux/kvm.h.
const KVM_SET_USER_MEMORY_REGION: libc::Ioctl = 0x4020_ae46;

/// `_IO(KVMIO, 0x03)` of the same file, and capabilities.
const KVM_CHECK_EXTENSION: libc::Ioctl = 0xae03;
const KVM_CAP_NR_MEMSLOTS: libc::c_ulong = 10;
const KVM_CAP_MULTI_ADDRESS_SPACE: libc::c_ulong = 118;

/// `struct kvm_userspace_memory_region` of include/uapi/linux/kvm.h.
#[repr(C)]
struct UserspaceMemoryRegion {
    slot: u32,
    flags: u32,
    guest_phys_addr: u64,
    memory_size: u64,
    userspace_addr: u64,
}

/// Shows host memory at a guest physical address of one VM, once it is put in.
#[derive(Debug)]
pub(crate) struct Memslot {
    vm: OwnedFd,
    slot: u32,
    inserted: AtomicBool,
}

impl Memslot {
    /// Slot number `slot` of the VM behind `vm_fd`, which is duplicated. Nothing is shown yet.
    pub(crate) fn new(vm_fd: RawFd, slot: u32) -> Result<Self, Errno> {
        let vm = duplicate(vm_fd)?;
        Ok(Self { vm, slot, inserted: AtomicBool::new(false) })
    }

    pub(crate) fn slot(&self) -> u32 {
        self.slot
    }

    /// Shows a window's addresses at `guest_address`. They are kept until [`Self::delete`] has succeeded.
    pub(crate) fn insert(&self, guest_address: u64, window: &Reservation) -> Result<(), Errno> {
        let range = window.range();
        self.set(guest_address, range.length() as u64, range.start() as u64)?;
        self.inserted.store(true, Relaxed);
        Ok(())
    }

    /// Takes the slot out of the VM, if it is there: when this returns, no vCPU reaches the memory any more.
    pub(crate) fn delete(&self) -> Result<(), Errno> {
        if self.inserted.load(Relaxed) {
            self.set(0, 0, 0)?;
            self.inserted.store(false, Relaxed);
        }
        Ok(())
    }

    /// What the descriptor is of, if that is no VM, as `/proc/self/fd` names it: `/dev/kvm`, `anon_inode:kvm-vcpu:0`.
    pub(crate) fn other_than_vm(&self) -> Option<String> {
        let name = std::fs::read_link(format!("/proc/self/fd/{}", self.vm.as_raw_fd())).ok()?;
        let name = name.to_string_lossy();
        (name != "anon_inode:kvm-vm").then(|| name.into_owned())
    }

    /// How many slots a VM may have, where KVM tells.
    pub(crate) fn slots(&self) -> Option<u32> {
        Some(self.capability(KVM_CAP_NR_MEMSLOTS)).filter(|slots| *slots > 0)
    }

    /// How many address spaces a VM has: two where there is system management mode.
    pub(crate) fn address_spaces(&self) -> u32 {
        self.capability(KVM_CAP_MULTI_ADDRESS_SPACE).max(1)
    }

    fn capability(&self, number: libc::c_ulong) -> u32 {
        // SAFETY: the request takes a number, and touches no memory of this process.
        let answer = unsafe { libc::ioctl(self.vm.as_raw_fd(), KVM_CHECK_EXTENSION, number) };
        u32::try_from(answer).unwrap_or(0)
    }

    fn set(&self, guest_phys_addr: u64, memory_size: u64, userspace_addr: u64) -> Result<(), Errno> {
        let region = UserspaceMemoryRegion { slot: self.slot, flags: 0, guest_phys_addr, memory_size, userspace_addr };
        // SAFETY: the request reads one `struct kvm_userspace_memory_region` from the pointer, which is of one. That
        // the host range holds nothing but the window is upheld by the backend, which gives its own reservation and
        // frees that only when `delete` succeeded.
        let answer = unsafe { libc::ioctl(self.vm.as_raw_fd(), KVM_SET_USER_MEMORY_REGION, &raw const region) };
        if answer == 0 { Ok(()) } else { Err(Errno::last()) }
    }
}

/// How many bits a physical address of this CPU has, where `/proc/cpuinfo` tells, which it does on x86.
pub(crate) fn physical_address_bits() -> Option<u32> {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let sizes = cpus.lines().find(|line| line.starts_with("address sizes"))?;
    sizes.split(' ').find_map(|word| word.parse().ok())
}
