//! A VM of KVM's, which is asked where it has memory.
#![allow(unsafe_code)]

use daxmap_core::page_size;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// `_IO(KVMIO, 0x01)` and `_IOW(KVMIO, 0x46, struct kvm_userspace_memory_region)` of include/uapi/linux/kvm.h.
const KVM_CREATE_VM: libc::Ioctl = 0xae01;
const KVM_SET_USER_MEMORY_REGION: libc::Ioctl = 0x4020_ae46;
/// A slot to try.
const TRIED: u32 = 7;

/// `struct kvm_userspace_memory_region` of the same file.
#[repr(C)]
struct Region {
    slot: u32,
    flags: u32,
    guest_phys_addr: u64,
    memory_size: u64,
    userspace_addr: u64,
}

#[derive(Debug)]
pub(crate) struct Vm(OwnedFd);

impl AsRawFd for Vm {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Vm {
    /// # Errors
    /// What the host says that has no KVM.
    pub(crate) fn new() -> io::Result<Self> {
        let kvm = File::options().read(true).write(true).open("/dev/kvm")?;
        // SAFETY: the request takes a number, and touches no memory of this process.
        let fd = unsafe { libc::ioctl(kvm.as_raw_fd(), KVM_CREATE_VM, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the ioctl has just made the descriptor, and nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Whether a slot shows the guest something at this address: no other slot can be put there then.
    pub(crate) fn shows_memory_at(&self, guest_address: u64) -> bool {
        match self.set(TRIED, guest_address, page_size()) {
            Ok(()) => {
                self.delete(TRIED);
                false
            }
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => true,
            Err(error) => panic!("a slot on trial: {error}"),
        }
    }

    pub(crate) fn delete(&self, slot: u32) {
        self.set(slot, 0, 0).unwrap();
    }

    /// The slot shows addresses that no program has, or is deleted where it has no size.
    fn set(&self, slot: u32, guest_phys_addr: u64, memory_size: u64) -> io::Result<()> {
        let region = Region { slot, flags: 0, guest_phys_addr, memory_size, userspace_addr: page_size() };
        // SAFETY: the request reads one region from the pointer, which is of one; no vCPU runs that could reach its memory.
        let answer = unsafe { libc::ioctl(self.0.as_raw_fd(), KVM_SET_USER_MEMORY_REGION, &raw const region) };
        if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}
