//! Why a mapper, a backend or a file server could not be made.

use crate::sys::Errno;
use std::fmt;

/// Why a [`Mapper`](crate::Mapper) could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// A value that no host would take.
    Invalid(String),
    /// The host refused.
    Refused {
        /// What was tried.
        what: String,
        /// What the host said.
        errno: Errno,
        /// What can be done about it, where that is known.
        remedy: Option<String>,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(text) => f.write_str(text),
            Self::Refused { what, errno, remedy: None } => write!(f, "{what}: {errno}"),
            Self::Refused { what, errno, remedy: Some(remedy) } => write!(f, "{what}: {errno}: {remedy}"),
        }
    }
}

impl std::error::Error for OpenError {}

impl OpenError {
    /// The process can't watch its forks.
    #[must_use]
    pub fn no_fork_guard(errno: Errno) -> Self {
        Self::refused("pthread_atfork".to_owned(), errno)
    }

    /// `errno` is what the host said when `what` was tried.
    #[must_use]
    pub fn refused(what: String, errno: Errno) -> Self {
        Self::Refused { what, errno, remedy: None }
    }
}
