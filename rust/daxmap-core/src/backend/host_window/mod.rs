//! The host window: addresses that the VMM gives to a memory slot of its own, and frees itself.

mod holders;
mod holes;
mod recovery;
mod region;
mod window_backend;

pub(super) use region::Region;
pub(super) use window_backend::WindowBackend;

use super::{Backend, Claim};
use crate::budget::Charge;
use crate::error::{Error, Result as MapperResult};
use crate::open_error::OpenError;
use crate::records::LOG_TARGET;
use crate::sync::{Mutex, MutexGuard, PoisonError};
use crate::sys::{Errno, ForkGuard};
use crate::window::Window;
use std::fmt;
use std::sync::Arc;

/// Where a host window is in its life.
#[derive(Debug)]
enum Phase {
    /// No mapper has it yet.
    Fresh,
    /// A mapper works in it.
    InUse,
    /// Its mapper is closed, but a memory slot may still point at the addresses. The charge is for the mappings that the
    /// host would not replace by holes.
    Drained(Box<Region>, Charge),
    /// It has no addresses any more.
    Released,
}

#[derive(Debug)]
struct Shared {
    claim: Claim,
    phase: Mutex<Phase>,
    guard: ForkGuard,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.guard.is_child() {
            return;
        }
        if let Some(warning) = self.leak() {
            log::warn!(target: LOG_TARGET, "{warning}");
        }
    }
}

impl Shared {
    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the addresses up for the life of the process, if there are any, and says so.
    fn leak(&mut self) -> Option<String> {
        let phase = self.phase.get_mut().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(phase, Phase::Released) {
            Phase::Drained(region, charge) => {
                std::mem::forget(charge);
                let address = region.address();
                let text =
                    format!("host window at {address:#x} dropped without release(): its addresses stay reserved");
                (!region.is_out_of_control()).then_some(text)
            }
            _ => None,
        }
    }
}

/// Keeps the region for the VMM to release; or leaks it, where the VMM has dropped its handle already.
fn keep(shared: Arc<Shared>, region: Box<Region>, charge: Charge, notes: &mut Vec<String>) -> bool {
    *shared.phase() = Phase::Drained(region, charge);
    notes.extend(Arc::into_inner(shared).and_then(|mut shared| shared.leak()));
    false
}

/// The VMM's handle of a host window: one reservation of the window's size, which a memory slot of the VMM's points at.
///
/// The reservation outlives the mapper: as long as a memory slot points there, freed addresses would show the guest
/// whatever lands there. [`HostWindowBackend::release`] frees it. A clone is the same window.
///
/// # Examples
/// ```
/// use daxmap_core::{GuestAddress, HostWindowBackend, Mapper, Options};
///
/// let window = HostWindowBackend::new()?;
/// let mapper = Mapper::new(GuestAddress(1 << 32), 2 << 20, Options::default(), |w| window.attach(w))?;
/// let userspace_addr = mapper.host_address().unwrap(); // of your kvm_userspace_memory_region
/// assert!(window.release().is_err(), "the mapper works in it");
/// mapper.drain_all()?;
/// // Delete the memory slot, or destroy the VM, and only then:
/// window.release()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct HostWindowBackend {
    shared: Arc<Shared>,
}

impl HostWindowBackend {
    /// A window without addresses: a mapper reserves them.
    ///
    /// # Errors
    /// [`OpenError::Refused`] where the process can't watch its forks.
    pub fn new() -> Result<Self, OpenError> {
        let guard = ForkGuard::new().map_err(OpenError::no_fork_guard)?;
        Ok(Self { shared: Arc::new(Shared { claim: Claim::default(), phase: Mutex::new(Phase::Fresh), guard }) })
    }

    /// Reserves the addresses, for the one mapper that this window serves.
    ///
    /// # Errors
    /// [`OpenError::Invalid`] for the second mapper and for sizes no process can have, else what `mmap` said.
    pub fn attach(&self, window: &Window) -> Result<Box<dyn Backend>, OpenError> {
        if self.shared.guard.is_child() {
            let what = "attaching a host window that was made before the process forked".to_owned();
            return Err(OpenError::refused(what, Errno(libc::EPERM)));
        }
        let region = self.shared.claim.attach(|| Region::reserve(window))?;
        *self.shared.phase() = Phase::InUse;
        let shared = Arc::clone(&self.shared);
        let on_close = move |region, charge, notes: &mut _| keep(shared, region, charge, notes);
        Ok(Box::new(WindowBackend::new(region, || (), on_close)))
    }

    /// Whether addresses are reserved for the window, by this process, that can be released.
    #[must_use]
    pub fn is_releasable(&self) -> bool {
        if self.shared.guard.is_child() {
            return false;
        }
        match &*self.shared.phase() {
            Phase::InUse => true,
            Phase::Drained(region, _) => !region.is_out_of_control(),
            Phase::Fresh | Phase::Released => false,
        }
    }

    /// Whether a mapper works in the window.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        !self.shared.guard.is_child() && matches!(*self.shared.phase(), Phase::InUse)
    }

    /// Whether this process is a fork of the one that made the window.
    #[must_use]
    pub fn in_forked_child(&self) -> bool {
        self.shared.guard.is_child()
    }

    /// Frees the addresses. The VMM has removed the memory slot, or the VM is gone. Doing so again is fine.
    ///
    /// # Errors
    /// [`Error::WindowInUse`] before the mapper is drained; [`Error::Forked`] in a child; [`Error::NotReleased`] where
    /// the host keeps the range, or where memory of others may lie in it.
    pub fn release(&self) -> MapperResult<()> {
        if self.shared.guard.is_child() {
            return Err(Error::Forked);
        }
        let mut phase = self.shared.phase();
        if matches!(*phase, Phase::InUse) {
            return Err(Error::WindowInUse);
        }
        match std::mem::replace(&mut *phase, Phase::Released) {
            Phase::Drained(region, charge) => region.release().map_err(|(region, errno)| {
                *phase = Phase::Drained(region, charge);
                Error::NotReleased { errno }
            }),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for HostWindowBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.shared.guard.is_child() {
            return f.write_str("of the process that forked this one"); // a thread of which may have the lock, for ever
        }
        match &*self.shared.phase() {
            Phase::Fresh => f.write_str("without a mapper"),
            Phase::InUse => f.write_str("in use"),
            Phase::Drained(region, _) => write!(f, "drained, addresses at {:#x} reserved", region.address()),
            Phase::Released => f.write_str("released"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::GuestAddress;

    #[test]
    fn a_window_tells_where_it_lies() {
        let window = Window::new(GuestAddress(1 << 32), 2 << 20).unwrap();
        let backend = HostWindowBackend::new().unwrap().attach(&window).unwrap();
        let told = format!("{backend:?}");
        assert!(told.contains(&backend.host_address().unwrap().to_string()), "{told}");
    }
}
