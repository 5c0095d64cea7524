//! Why a host, a hypervisor or a VMM's own code said no.

use crate::sys::Errno;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// An errno for the caller, and what lies behind it.
///
/// # Examples
/// ```
/// use daxmap_core::{Errno, Refusal};
///
/// let refusal = Refusal::io("the hypervisor said 7");
/// assert_eq!((refusal.errno(), refusal.to_string().as_str()), (Errno(5), "the hypervisor said 7")); // EIO
/// let timed_out = Refusal::io("no answer in time").in_doubt();
/// assert!(timed_out.is_in_doubt(), "it may have been done all the same");
/// ```
#[derive(Clone, Debug)]
pub struct Refusal {
    errno: Errno,
    source: Option<Arc<dyn Error + Send + Sync>>,
    in_doubt: bool,
}

impl Refusal {
    /// `errno` for the caller, because of `source`. Nothing was done.
    pub fn new(errno: Errno, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { errno, source: Some(Arc::from(source.into())), in_doubt: false }
    }

    /// EIO for the caller, because of `source`: the answer to whatever a hypervisor refuses. Nothing was done.
    pub fn io(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Errno(libc::EIO), source)
    }

    /// The same refusal, of a call that may have done its work before it failed.
    #[must_use]
    pub fn in_doubt(self) -> Self {
        Self { in_doubt: true, ..self }
    }

    /// Whether the call that was refused may have done its work all the same.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.in_doubt
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
        Self { errno, source: None, in_doubt: false }
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
