//! A memslot of a KVM virtual machine: Documentation/virt/kvm/api.rst, 4.35.

use super::{Errno, Reservation, duplicate};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// `_IOW(KVMIO, 0x46, struct kvm_userspace_memory_region)` of include/uapi/linux/kvm.h, and flags.
const KVM_SET_USER_MEMORY_REGION: libc::Ioctl = 0x4020_ae46;
const KVM_MEM_LOG_DIRTY_PAGES: u32 = 1 << 0;
const KVM_MEM_READONLY: u32 = 1 << 1;

/// `_IO(KVMIO, 0x03)` of the same file, and capabilities.
const KVM_CHECK_EXTENSION: libc::Ioctl = 0xae03;
const KVM_CAP_NR_MEMSLOTS: libc::c_ulong = 10;
const KVM_CAP_READONLY_MEM: libc::c_ulong = 81;
const KVM_CAP_MULTI_ADDRESS_SPACE: libc::c_ulong = 118;

/// `struct kvm_userspace_memory_region` of include/uapi/linux/kvm.h.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct UserspaceMemoryRegion {
    slot: u32,
    flags: u32,
    guest_phys_addr: u64,
    memory_size: u64,
    userspace_addr: u64,
}

/// Shows host memory at a guest physical address of one VM, from when it is put in until it is deleted.
#[derive(Debug)]
pub(crate) struct Memslot {
    number: u32,
    /// `None` once it was let go.
    inner: Mutex<Option<Inner>>,
}

#[derive(Debug)]
struct Inner {
    vm: OwnedFd,
    /// What KVM has; of size 0 as long as the slot is not in.
    region: UserspaceMemoryRegion,
}

impl Memslot {
    /// Slot number `number` of the VM behind `vm_fd`, which is duplicated. Nothing is shown yet.
    pub(crate) fn new(vm_fd: RawFd, number: u32) -> Result<Self, Errno> {
        let vm = duplicate(vm_fd)?;
        let region =
            UserspaceMemoryRegion { slot: number, flags: 0, guest_phys_addr: 0, memory_size: 0, userspace_addr: 0 };
        Ok(Self { number, inner: Mutex::new(Some(Inner { vm, region })) })
    }

    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// Shows a window's addresses at `guest_address`. They are kept until [`Self::delete`] has succeeded. With `readonly`
    /// the guest can't store there, whatever is mapped, where this VM can have that.
    pub(crate) fn insert(&self, guest_address: u64, window: &Reservation, readonly: bool) -> Result<(), Errno> {
        let mut inner = self.lock();
        let inner = inner.as_mut().ok_or(Errno(libc::ENODEV))?;
        let range = window.range();
        let mut flags = inner.region.flags;
        if readonly && inner.capability(KVM_CAP_READONLY_MEM) > 0 {
            flags |= KVM_MEM_READONLY;
        }
        inner.set(UserspaceMemoryRegion {
            slot: self.number,
            flags,
            guest_phys_addr: guest_address,
            memory_size: range.length() as u64,
            userspace_addr: range.start() as u64,
        })
    }

    /// Has KVM log which pages the guest stores to, or no longer: from now on, or from when the slot is put in. `None`
    /// once it was let go.
    pub(crate) fn switch_dirty_log(&self, on: bool) -> Option<Result<(), Errno>> {
        let mut inner = self.lock();
        let inner = inner.as_mut()?;
        let mut region = inner.region;
        if on {
            region.flags |= KVM_MEM_LOG_DIRTY_PAGES;
        } else {
            region.flags &= !KVM_MEM_LOG_DIRTY_PAGES;
        }
        if !inner.is_in() {
            inner.region = region;
            return Some(Ok(()));
        }
        Some(inner.set(region))
    }

    /// Takes the slot out of the VM, if it is there: when this returns, no vCPU reaches the memory any more.
    pub(crate) fn delete(&self) -> Result<(), Errno> {
        match self.lock().as_mut() {
            Some(inner) if inner.is_in() => inner.set(UserspaceMemoryRegion { memory_size: 0, ..inner.region }),
            _ => Ok(()),
        }
    }

    /// Asks nothing of the VM any more, nor keeps it alive.
    pub(crate) fn let_go(&self) {
        *self.lock() = None;
    }

    /// What the descriptor is of, if that is no VM, as `/proc/self/fd` names it: `/dev/kvm`, `anon_inode:kvm-vcpu:0`.
    pub(crate) fn other_than_vm(&self) -> Option<String> {
        let fd = self.lock().as_ref()?.vm.as_raw_fd();
        let name = std::fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
        let name = name.to_string_lossy();
        (name != "anon_inode:kvm-vm").then(|| name.into_owned())
    }

    /// How many slots and how many address spaces the VM has (two spaces where there is system management mode), where
    /// KVM tells: since Linux 3.17 it does so of a VM.
    pub(crate) fn limits(&self) -> Option<(u32, u32)> {
        let inner = self.lock();
        let inner = inner.as_ref()?;
        let slots = inner.capability(KVM_CAP_NR_MEMSLOTS);
        (slots > 0).then(|| (slots, inner.capability(KVM_CAP_MULTI_ADDRESS_SPACE).max(1)))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Inner>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn is_in(&self) -> bool {
        self.region.memory_size > 0
    }

    /// What KVM says of a capability: 0 if it lacks it, or does not tell.
    fn capability(&self, number: libc::c_ulong) -> u32 {
        // SAFETY: the request takes a number, and touches no memory of this process.
        let answer = unsafe { libc::ioctl(self.vm.as_raw_fd(), KVM_CHECK_EXTENSION, number) };
        u32::try_from(answer).unwrap_or(0)
    }

    /// Has KVM put the slot in, change its flags, or delete it; if it refuses, all is as before.
    fn set(&mut self, region: UserspaceMemoryRegion) -> Result<(), Errno> {
        // SAFETY: the request reads one `struct kvm_userspace_memory_region` from the pointer, which is of one. That
        // the host range holds nothing but the window is upheld by the backend, which gives its own reservation and
        // frees that only when `delete` succeeded.
        let answer = unsafe { libc::ioctl(self.vm.as_raw_fd(), KVM_SET_USER_MEMORY_REGION, &raw const region) };
        if answer != 0 {
            return Err(Errno::last());
        }
        self.region = region;
        Ok(())
    }
}

/// How many bits a physical address of this CPU has, where `/proc/cpuinfo` tells, which it does on x86.
pub(crate) fn physical_address_bits() -> Option<u32> {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let sizes = cpus.lines().find(|line| line.starts_with("address sizes"))?;
    sizes.split(' ').find_map(|word| word.parse().ok())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::FromRawFd;

    /// `_IO(KVMIO, 0x01)` and `_IOW(KVMIO, 0x42, struct kvm_dirty_log)` of include/uapi/linux/kvm.h.
    const KVM_CREATE_VM: libc::Ioctl = 0xae01;
    const KVM_GET_DIRTY_LOG: libc::Ioctl = 0x4010_ae42;
    const BASE: u64 = 4 << 30;
    const SIZE: usize = 2 << 20;

    /// A VM; none where there is no KVM, or no right to use it: then the Python tests say what is skipped.
    pub(crate) fn vm() -> Option<OwnedFd> {
        let kvm = File::options().read(true).write(true).open("/dev/kvm").ok()?;
        // SAFETY: the request takes a number, and touches no memory of this process.
        let fd = unsafe { libc::ioctl(kvm.as_raw_fd(), KVM_CREATE_VM, 0) };
        // SAFETY: the ioctl has just made the descriptor, and nobody else knows it.
        (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
    }

    fn is_logged(vm: &OwnedFd, slot: u64) -> bool {
        let mut bitmap = [0_u64; SIZE / 4096 / 64];
        let argument = [slot, bitmap.as_mut_ptr() as u64];
        // SAFETY: the request reads a `struct kvm_dirty_log`, a number and a pointer, and writes a bit a page to the bitmap.
        unsafe { libc::ioctl(vm.as_raw_fd(), KVM_GET_DIRTY_LOG, &raw const argument) == 0 }
    }

    #[test]
    fn a_slot_shows_a_window_until_it_is_deleted() {
        let Some(vm) = vm() else { return };
        let window = Reservation::new(SIZE, SIZE).unwrap();
        let [slot, other] = [1, 2].map(|number| Memslot::new(vm.as_raw_fd(), number).unwrap());
        assert_eq!((slot.number(), slot.other_than_vm()), (1, None));
        slot.delete().unwrap();
        slot.insert(BASE, &window, false).unwrap();
        assert_eq!(other.insert(BASE, &window, false), Err(Errno(libc::EEXIST)));
        slot.delete().unwrap();
        other.insert(BASE, &window, false).unwrap();
        other.delete().unwrap();
        other.let_go();
        assert_eq!(other.insert(BASE, &window, false), Err(Errno(libc::ENODEV)));
        assert_eq!((other.switch_dirty_log(true), other.limits(), other.other_than_vm()), (None, None, None));
        window.release().unwrap();
    }

    #[test]
    fn stores_are_logged_from_the_switch_on() {
        let Some(vm) = vm() else { return };
        let window = Reservation::new(SIZE, SIZE).unwrap();
        let slot = Memslot::new(vm.as_raw_fd(), 1).unwrap();
        for before in [false, true] {
            assert_eq!(slot.switch_dirty_log(before), Some(Ok(())));
            slot.insert(BASE, &window, false).unwrap();
            assert_eq!(is_logged(&vm, 1), before);
            for on in [true, false] {
                assert_eq!(slot.switch_dirty_log(on), Some(Ok(())));
                assert_eq!(is_logged(&vm, 1), on);
            }
            slot.delete().unwrap();
        }
        window.release().unwrap();
    }

    #[test]
    fn a_read_only_slot_stays_so() {
        let Some(vm) = vm() else { return };
        let window = Reservation::new(SIZE, SIZE).unwrap();
        for readonly in [false, true] {
            let slot = Memslot::new(vm.as_raw_fd(), 1).unwrap();
            slot.insert(BASE, &window, readonly).unwrap();
            slot.switch_dirty_log(true).unwrap().unwrap();
            let mut inner = slot.lock();
            let inner = inner.as_mut().unwrap();
            let region = inner.region;
            // KVM refuses to change that flag, and so tells what it is.
            let other = UserspaceMemoryRegion { flags: region.flags ^ KVM_MEM_READONLY, ..region };
            assert_eq!((region.flags & KVM_MEM_READONLY != 0, inner.set(other)), (readonly, Err(Errno(libc::EINVAL))));
            inner.set(UserspaceMemoryRegion { memory_size: 0, ..region }).unwrap();
        }
        window.release().unwrap();
    }

    #[test]
    fn limits_and_what_is_no_vm() {
        let null = File::open("/dev/null").unwrap();
        let slot = Memslot::new(null.as_raw_fd(), 7).unwrap();
        assert_eq!((slot.other_than_vm().as_deref(), slot.limits()), (Some("/dev/null"), None));
        assert_eq!(slot.switch_dirty_log(true), Some(Ok(())), "for later");
        assert_eq!(Memslot::new(-1, 7).unwrap_err(), Errno(libc::EBADF));
        let Some(vm) = vm() else { return };
        let (slots, spaces) = Memslot::new(vm.as_raw_fd(), 7).unwrap().limits().unwrap();
        assert!(slots > 30 && (1..=2).contains(&spaces));
        assert!(physical_address_bits().is_none_or(|bits| (32..=57).contains(&bits)));
        assert_eq!(physical_address_bits().is_some(), cfg!(target_arch = "x86_64"));
    }
}
