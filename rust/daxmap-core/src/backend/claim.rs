//! One backend serves one mapper.

use crate::open_error::OpenError;
use crate::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Whether a backend has its mapper.
#[derive(Debug, Default)]
pub struct Claim(AtomicBool);

impl Claim {
    /// Claims the backend for the mapper that `attach` makes it work for. Where that fails, it is free again.
    ///
    /// # Errors
    /// [`OpenError::Invalid`] where it serves another mapper, else those of `attach`.
    pub fn attach<T>(&self, attach: impl FnOnce() -> Result<T, OpenError>) -> Result<T, OpenError> {
        if self.0.swap(true, Relaxed) {
            return Err(OpenError::Invalid(
                "backend: it serves a mapper, or has served one; make a new one for each mapper".to_owned(),
            ));
        }
        let attached = attach();
        if attached.is_err() {
            self.0.store(false, Relaxed);
        }
        attached
    }
}
