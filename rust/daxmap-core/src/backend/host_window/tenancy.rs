//! Parts of a region that are lent, and outlive the wish to free it.

use super::region::Region;
use crate::backend::Hold;
use crate::records::LOG_TARGET;
use crate::sys::Errno;
use std::sync::{Arc, Mutex, PoisonError};

/// Shared by a region and by whoever holds a part of it. Once the region is to be freed it is kept in here, and the last
/// holder frees it.
#[derive(Debug, Default)]
pub(super) struct Tenancy(Mutex<Option<Box<Region>>>);

impl Tenancy {
    /// Keeps the region's addresses reserved until it is dropped.
    pub(super) fn hold(self: &Arc<Self>) -> Hold {
        Box::new(Arc::clone(self))
    }

    /// Frees a region, now or when its last holder is gone; or gives it back, where the host would not.
    pub(super) fn end(self: Arc<Self>, region: Box<Region>) -> Result<(), (Box<Region>, Errno)> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(region);
        let last = Arc::into_inner(self).and_then(|mut tenancy| tenancy.take());
        last.map_or(Ok(()), |region| Region::free(*region))
    }

    fn take(&mut self) -> Option<Box<Region>> {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Tenancy {
    fn drop(&mut self) {
        let Some(region) = self.take() else { return };
        if let Err((region, errno)) = region.free() {
            let address = region.address();
            log::warn!(target: LOG_TARGET, "host window at {address:#x} stays reserved: {errno}");
        }
    }
}
