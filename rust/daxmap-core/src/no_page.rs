//! Why a byte of a mapping can't be reached.

use std::fmt;

/// Why the host does not have a page of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPage {
    /// It lies past the end of the file, which was cut, or is shorter than its mapping.
    PastEnd {
        /// Length of the file in bytes.
        length: u64,
    },
    /// It lies in the file, and the host could not supply it.
    NotSupplied,
    /// One of the two: how long the file is can't be found out.
    Unknown,
}

impl fmt::Display for NoPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SUPPLY: &str = "the host could not supply it (disk full, quota, I/O error, FUSE server gone)";
        match self {
            Self::PastEnd { length } => write!(f, "it lies past the end of its file, which has {length} bytes"),
            Self::NotSupplied => f.write_str(SUPPLY),
            Self::Unknown => {
                write!(f, "either it lies past the end of its file, or {SUPPLY}; which of the two cannot be found out")
            }
        }
    }
}
