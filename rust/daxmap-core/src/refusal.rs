//! Why a host, a hypervisor or a VMM's own code said no.

use crate::sys::Errno;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// An errno for the caller, and what lies behind it.
#[derive(Clone, Debug)]
pub struct Refusal {
    errno: Errno,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl Refusal {
    /// `errno` for the caller, because of `source`.
    pub fn new(errno: Errno, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { errno, source: Some(Arc::from(source.into())) }
    }

    /// EIO for the caller, because of `source`: the answer to whatever a hypervisor refuses.
    pub fn io(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Errno(libc::EIO), source)
    }

    /// The errno for the caller.
    #[must_use]
    pub fn errno(&self) -> Errno {
        self.errno
    }

    /// What lies behind the errno, if that is more than a number.
    #[must_use]
    pub fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self { errno, source: None }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => source.fmt(f),
            None => self.errno.fmt(f),
        }
    }
}
