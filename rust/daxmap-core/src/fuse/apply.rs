//! What requests ask of a mapper.

use super::request::{Removal, Setup};
use crate::error::Result;
use crate::mapper::{MapRequest, Mapper, Overlap};
use std::os::fd::RawFd;

impl Setup {
    /// Maps the range of the file behind `fd`, which has to stay open only during the call.
    ///
    /// # Errors
    /// Those of [`Mapper::setup`].
    pub fn apply(&self, mapper: &Mapper, fd: RawFd) -> Result<()> {
        let Self { file_offset, window_offset, length, writable, .. } = *self;
        mapper.setup(fd, &MapRequest { file_offset, window_offset, length, writable }, Overlap::Replace)
    }
}

impl Removal {
    /// Removes the mappings, each one whatever becomes of the others.
    ///
    /// # Errors
    /// Those of [`Mapper::remove`], of the first that could not be removed.
    pub fn apply(&self, mapper: &Mapper) -> Result<()> {
        match self {
            Self::Of(entries) => mapper.remove_ranges(entries),
            Self::OfEverything => mapper.remove_all(),
        }
    }
}
