//! Which files a guest is to map.

/// In `fuse_attr.flags`: this file should be mapped.
const ATTR_DAX: u32 = 1 << 1;
/// The type of a file in its mode, and the type of regular files: of one value on every host.
const TYPE: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;

/// Which files of a share a guest is to map. The guest may do otherwise: it is advice.
///
/// # Examples
/// ```
/// use daxmap_core::fuse::Policy;
///
/// let policy = Policy::Inode { min_size: 1 << 20 };
/// let (regular, directory) = (0o100_644, 0o040_755);
/// assert_eq!(policy.attr_flags(regular, 2 << 20), 1 << 1); // FUSE_ATTR_DAX
/// assert_eq!(policy.attr_flags(regular, 100), 0);
/// assert_eq!(policy.attr_flags(directory, 2 << 20), 0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// All.
    Always,
    /// Those that are large enough.
    Inode {
        /// Size in bytes of the smallest.
        min_size: u64,
    },
    /// None.
    Never,
}

impl Policy {
    /// The flags for `fuse_attr.flags` of a file, by its `st_mode` and `st_size`: `FUSE_ATTR_DAX`, or 0. Only regular
    /// files are mapped.
    #[must_use]
    pub fn attr_flags(self, mode: u32, size: u64) -> u32 {
        let wanted = match self {
            Self::Always => true,
            Self::Inode { min_size } => size >= min_size,
            Self::Never => false,
        };
        if wanted && mode & TYPE == REGULAR { ATTR_DAX } else { 0 }
    }
}
