//! How long a mapped file is, where nobody has a descriptor of it any more.

use super::FileId;

/// Not found out here: the caller says that it can't be told.
pub(crate) fn length_of_mapped(_address: usize, _file: FileId) -> Option<u64> {
    None
}
