//! A host window and the KVM memslot that shows it.

use super::Backend;
use super::region::{Region, RegionBackend};
use crate::error::OpenError;
use crate::refusal::Refusal;
use crate::sys::Memslot;
use crate::window::Window;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, PoisonError};

/// A memslot of a KVM virtual machine, for the window of one mapper.
///
/// The mapper puts the slot in when it is made and deletes it when it closes; only then are the addresses freed.
#[derive(Debug)]
pub struct KvmWindow {
    unused: Mutex<Option<Memslot>>,
}

impl KvmWindow {
    /// Slot number `slot` of the VM behind `vm_fd`. The descriptor is duplicated, so the VM lives until the mapper is
    /// closed.
    ///
    /// # Errors
    /// [`OpenError::Refused`] where the descriptor can't be duplicated (EBADF, EMFILE).
    pub fn new(vm_fd: RawFd, slot: u32) -> Result<Self, OpenError> {
        let memslot = Memslot::new(vm_fd, slot)
            .map_err(|errno| OpenError::Refused { what: format!("duplicating vm_fd {vm_fd}"), errno })?;
        Ok(Self { unused: Mutex::new(Some(memslot)) })
    }

    /// Reserves addresses for the window and shows them to the guest, for the one mapper that this slot serves.
    ///
    /// # Errors
    /// [`OpenError::Invalid`] for the second mapper and for sizes no process can have; [`OpenError::Refused`] with what
    /// `mmap` or `KVM_SET_USER_MEMORY_REGION` said (EEXIST: the guest has memory there already; ENOTTY: no VM's
    /// descriptor).
    pub fn attach(&self, window: &Window) -> Result<Box<dyn Backend>, OpenError> {
        let mut unused = self.unused.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(memslot) = unused.take() else {
            return Err(OpenError::Invalid("the memslot belongs to a mapper already".to_owned()));
        };
        let region = match Region::reserve(window) {
            Ok(region) => region,
            Err(error) => {
                *unused = Some(memslot);
                return Err(error);
            }
        };
        if let Err(errno) = memslot.insert(window.base().0, window.size(), region.address() as u64) {
            let slot = memslot.slot();
            *unused = Some(memslot);
            // Nothing points at the region: should the host keep it, a range of addresses is all that is lost.
            let _ = region.release();
            let (base, size) = (window.base(), window.size());
            let what = format!("KVM_SET_USER_MEMORY_REGION of slot {slot} at {base}, {size:#x} bytes");
            return Err(OpenError::Refused { what, errno });
        }
        let memslot = Arc::new(memslot);
        let same = Arc::clone(&memslot);
        let cut_off = move || _ = same.delete(); // if it fails, it is tried again, and told of, on closing
        Ok(Box::new(RegionBackend::new(region, cut_off, move |region| close(&memslot, region))))
    }
}

/// Frees the region if the guest surely lost it.
fn close(memslot: &Memslot, region: Box<Region>) -> Result<(), Refusal> {
    let (slot, address) = (memslot.slot(), region.address());
    memslot
        .delete()
        .and_then(|()| region.release().map_err(|(_, errno)| errno))
        .map_err(|errno| Refusal::io(format!("host window at {address:#x} of slot {slot} stays reserved: {errno}")))
}
