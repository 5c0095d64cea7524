//! A host window and the KVM memory slot that shows it.

use super::host_window::{Region, WindowBackend};
use super::{Backend, Claim};
use crate::budget::Charge;
use crate::error::{Error, Result as MapperResult};
use crate::open_error::OpenError;
use crate::records::printable;
use crate::sys::{Errno, ForkGuard, Memslot, physical_address_bits};
use crate::window::Window;
use std::os::fd::RawFd;
use std::sync::Arc;

/// A memory slot of a KVM virtual machine, for the window of one mapper.
///
/// The mapper puts the slot in when it is made and deletes it when it closes; only then are the addresses freed.
///
/// # Examples
/// ```
/// use daxmap_core::{GuestAddress, KvmBackend, Mapper, OpenError, Options};
/// use std::os::fd::AsRawFd;
///
/// /// A DAX window of 1 GiB above 4 GiB, in slot 1 of a VM.
/// fn window(vm: &impl AsRawFd) -> Result<Mapper, OpenError> {
///     let slot = KvmBackend::new(vm.as_raw_fd(), 1)?; // kvm_ioctls::VmFd is AsRawFd
///     Mapper::new(GuestAddress(4 << 30), 1 << 30, Options::default(), |window| slot.attach(window, false))
/// }
///
/// let no_vm = std::fs::File::open("/dev/null")?;
/// assert!(window(&no_vm).unwrap_err().to_string().contains("vm_fd is not a VM's"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct KvmBackend {
    claim: Claim,
    memslot: Arc<Memslot>,
    guard: ForkGuard,
}

impl KvmBackend {
    /// Slot number `slot` of the VM behind `vm_fd`. The descriptor is duplicated, so the VM lives until the mapper is
    /// closed.
    ///
    /// # Errors
    /// [`OpenError::Invalid`] where the VM has no such slot, if KVM tells; [`OpenError::Refused`] where the descriptor
    /// can't be duplicated (EBADF, EMFILE), or the process can't watch its forks.
    pub fn new(vm_fd: RawFd, slot: u32) -> Result<Self, OpenError> {
        let guard = ForkGuard::new().map_err(OpenError::no_fork_guard)?;
        let memslot = Memslot::new(vm_fd, slot)
            .map_err(|errno| OpenError::refused(format!("duplicating vm_fd {vm_fd}"), errno))?;
        check_number(&memslot)?;
        Ok(Self { claim: Claim::default(), memslot: Arc::new(memslot), guard })
    }

    /// The number of the slot.
    #[must_use]
    pub fn slot(&self) -> u32 {
        self.memslot.number()
    }

    /// Reserves addresses for the window and shows them to the guest, for the one mapper that this slot serves.
    /// `readonly` is that of the mapper: the guest can't store to the window then, whatever is mapped in it, where KVM has
    /// read-only slots.
    ///
    /// # Errors
    /// [`OpenError::Invalid`] for the second mapper and for sizes no process can have; [`OpenError::Refused`] with what
    /// `mmap` or `KVM_SET_USER_MEMORY_REGION` said (EEXIST: the guest has memory there already; ENOTTY: no VM's
    /// descriptor), and with EPERM in a forked child.
    pub fn attach(&self, window: &Window, readonly: bool) -> Result<Box<dyn Backend>, OpenError> {
        if self.guard.is_child() {
            let what = "attaching a memory slot whose backend was made before the process forked".to_owned();
            return Err(OpenError::refused(what, Errno(libc::EPERM)));
        }
        let region = self.claim.attach(|| {
            let region = Region::reserve(window)?;
            if let Err(errno) = self.memslot.insert(window.base().0, region.reservation(), readonly) {
                // Nothing points at the region: should the host keep it, a range of addresses is all that is lost.
                let _ = region.release();
                let (slot, base, size) = (self.slot(), window.base(), window.size());
                let what = format!("KVM_SET_USER_MEMORY_REGION of slot {slot} at {base}, {size:#x} bytes");
                return Err(OpenError::Refused { what, errno, remedy: self.remedy(window, errno) });
            }
            Ok(region)
        })?;
        let memslot = Arc::clone(&self.memslot);
        let cut_off = move || _ = memslot.delete(); // if it fails, it is tried again, and logged, on closing
        let memslot = Arc::clone(&self.memslot);
        let on_close = move |region, charge, notes: &mut _| close(&memslot, region, charge, notes);
        Ok(Box::new(WindowBackend::new(region, cut_off, on_close)))
    }

    /// Has KVM log which pages of the window the guest stores to, for `KVM_GET_DIRTY_LOG` to tell: what a VMM does with
    /// all slots when a migration begins. Before the mapper is made it holds for the slot that is put in then; later it
    /// changes the slot while the guest runs. Again, it does nothing.
    ///
    /// # Errors
    /// [`Error::Closed`] once the mapper has closed; [`Error::Forked`] in a child; [`Error::DirtyLogRefused`] with what
    /// KVM said, and then all is as before.
    pub fn start_dirty_log(&self) -> MapperResult<()> {
        self.switch_dirty_log(true)
    }

    /// Has KVM keep no log any more, at any time as [`Self::start_dirty_log`].
    ///
    /// # Errors
    /// Those of [`Self::start_dirty_log`].
    pub fn stop_dirty_log(&self) -> MapperResult<()> {
        self.switch_dirty_log(false)
    }

    fn switch_dirty_log(&self, on: bool) -> MapperResult<()> {
        if self.guard.is_child() {
            return Err(Error::Forked); // before the lock, which a thread of the parent's may have for ever
        }
        let switched = self.memslot.switch_dirty_log(on).ok_or(Error::Closed)?;
        switched.map_err(|errno| Error::DirtyLogRefused { slot: self.slot(), errno })
    }

    /// What is likely to be wrong where KVM would not take the slot: `kvm_set_memory_region`
    /// of `virt/kvm/kvm_main.c`.
    fn remedy(&self, window: &Window, errno: Errno) -> Option<String> {
        let may_be_no_vm = matches!(errno.0, libc::EINVAL | libc::ENOTTY);
        let other = may_be_no_vm.then(|| self.memslot.other_than_vm()).flatten();
        Some(match errno.0 {
            libc::EEXIST => {
                "the guest has memory there already, RAM or another slot: put the window above it".to_owned()
            }
            libc::EIO => "the VM belongs to another process: the one that this was forked from, say".to_owned(),
            _ if other.is_some() => {
                let other = printable(&other.unwrap_or_default());
                format!("vm_fd is not a VM's but of {other}: KVM_CREATE_VM of /dev/kvm gives the VM's")
            }
            libc::EINVAL => match physical_address_bits().filter(|bits| is_past(window, *bits)) {
                Some(bits) => format!("its end is past the {bits} physical address bits of this CPU"),
                None => "the slot may be in use: take another number, or delete it first".to_owned(),
            },
            _ => return None,
        })
    }
}

/// Whether a window has an address of more bits than these.
fn is_past(window: &Window, bits: u32) -> bool {
    let last = window.base().0.saturating_add(window.size().saturating_sub(1));
    last.checked_shr(bits).is_some_and(|rest| rest > 0)
}

/// Refuses a slot that the VM does not have. Where KVM does not tell its limits, it refuses the slot later.
fn check_number(memslot: &Memslot) -> Result<(), OpenError> {
    let Some((slots, spaces)) = memslot.limits() else { return Ok(()) };
    let (number, space) = (memslot.number() & 0xffff, memslot.number() >> 16);
    if space >= spaces {
        return Err(OpenError::Invalid(format!(
            "slot: {:#x} has address space {space} in bits 16 to 31: this VM has address spaces 0 to {}",
            memslot.number(),
            spaces.wrapping_sub(1)
        )));
    }
    if number >= slots {
        let last = slots.wrapping_sub(1);
        return Err(OpenError::Invalid(format!(
            "slot: {number} is too large: this VM has slots 0 to {last} (KVM_CAP_NR_MEMSLOTS)"
        )));
    }
    Ok(())
}

/// Frees the region if the guest surely lost it.
fn close(memslot: &Memslot, region: Box<Region>, charge: Charge, notes: &mut Vec<String>) -> bool {
    let (slot, address) = (memslot.number(), region.address());
    let deleted = memslot.delete();
    memslot.let_go(); // the VM may be gone when this has returned
    let freed = deleted.and_then(|()| region.release().map_err(|(_, errno)| errno));
    if let Err(errno) = freed {
        notes.push(format!("host window at {address:#x} of slot {slot} stays reserved: {errno}"));
        std::mem::forget(charge);
        return false;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::GuestAddress;
    use crate::sys::vm;
    use std::os::fd::AsRawFd;

    fn window(base: u64) -> Window {
        Window::new(GuestAddress(base), 2 << 20).unwrap()
    }

    fn refused(slot: &KvmBackend, base: u64) -> (i32, String) {
        match slot.attach(&window(base), false) {
            Err(OpenError::Refused { errno, remedy, .. }) => (errno.0, remedy.unwrap_or_default()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_descriptor_of_no_vm_is_named() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let slot = KvmBackend::new(null.as_raw_fd(), 3).unwrap();
        let (errno, remedy) = refused(&slot, 4 << 30);
        assert_eq!(errno, libc::ENOTTY);
        assert!(remedy.starts_with("vm_fd is not a VM's but of /dev/null: "), "{remedy}");
        assert!(matches!(KvmBackend::new(-1, 3), Err(OpenError::Refused { errno: Errno(libc::EBADF), .. })));
    }

    #[test]
    fn a_slot_that_the_vm_has_not_is_refused() {
        let Some(vm) = vm() else { return };
        let new = |slot| KvmBackend::new(vm.as_raw_fd(), slot).map(|backend| backend.slot());
        let (slots, spaces) = Memslot::new(vm.as_raw_fd(), 0).unwrap().limits().unwrap();
        assert_eq!((new(slots - 1), new((spaces - 1) << 16)), (Ok(slots - 1), Ok((spaces - 1) << 16)));
        let text = |slot| new(slot).unwrap_err().to_string();
        assert!(text(slots).starts_with(&format!("slot: {slots} is too large: this VM has slots 0 to {} ", slots - 1)));
        let spaces_told = format!("this VM has address spaces 0 to {}", spaces - 1);
        assert!(text(spaces << 16 | 5).ends_with(&spaces_told));
    }

    #[test]
    fn what_kvm_refuses_has_a_remedy() {
        let Some(vm) = vm() else { return };
        let slot = |number| KvmBackend::new(vm.as_raw_fd(), number).unwrap();
        let mut notes = Vec::new();
        let first = slot(1).attach(&window(4 << 30), false).unwrap();
        let (errno, remedy) = refused(&slot(2), 4 << 30);
        assert_eq!(errno, libc::EEXIST);
        assert!(remedy.starts_with("the guest has memory there already"), "{remedy}");
        let (errno, remedy) = refused(&slot(1), 5 << 30);
        assert_eq!(
            (errno, remedy.as_str()),
            (libc::EINVAL, "the slot may be in use: take another number, or delete it first")
        );
        if let Some(bits) = physical_address_bits() {
            let (errno, remedy) = refused(&slot(2), 1 << 60);
            assert_eq!(
                (errno, remedy),
                (libc::EINVAL, format!("its end is past the {bits} physical address bits of this CPU"))
            );
        }
        assert!(first.close(Charge::of_process(), &mut notes), "{notes:?}");
        let second = slot(2).attach(&window(4 << 30), false).unwrap();
        assert!(second.close(Charge::of_process(), &mut notes), "the first has left");
    }

    #[test]
    fn the_log_of_stores_ends_with_the_mapper() {
        let Some(vm) = vm() else { return };
        let slot = KvmBackend::new(vm.as_raw_fd(), 1).unwrap();
        slot.start_dirty_log().unwrap();
        let attached = slot.attach(&window(4 << 30), false).unwrap();
        assert!(matches!(slot.attach(&window(8 << 30), false), Err(OpenError::Invalid(_))), "it serves one mapper");
        slot.stop_dirty_log().unwrap();
        assert!(attached.close(Charge::of_process(), &mut Vec::new()));
        assert!(matches!(slot.start_dirty_log(), Err(Error::Closed)));
    }
}
