//! What requests ask of a mapper.

use super::request::{Removal, Setup};
use crate::error::{Error, Result};
use crate::mapper::Mapper;
use std::os::fd::RawFd;

impl Setup {
    /// Maps the range of the file behind `fd`, which has to stay open only during the call.
    ///
    /// # Errors
    /// Those of [`Mapper::setup`].
    pub fn apply(&self, mapper: &Mapper, fd: RawFd) -> Result<()> {
        mapper.setup(fd, self.file_offset, self.window_offset, self.length, self.writable)
    }
}

impl Removal {
    /// Removes the mappings, each one whatever becomes of the others.
    ///
    /// # Errors
    /// Those of [`Mapper::remove`], of the first that could not be removed.
    pub fn apply(&self, mapper: &Mapper) -> Result<()> {
        match self {
            Self::Of(entries) => match entries.as_slice() {
                [(offset, length)] => mapper.remove(*offset, *length),
                many => first_failure(mapper.remove_batch(many)?.failed),
            },
            Self::OfEverything => {
                let live: Vec<_> = mapper.mappings()?.iter().map(|m| (m.span.start(), m.span.length())).collect();
                let mut failed = mapper.remove_batch(&live)?.failed;
                // Another request was quicker: gone is gone.
                failed.retain(|(_, error)| !matches!(error, Error::NoMapping { .. } | Error::LengthDiffers { .. }));
                first_failure(failed)
            }
        }
    }
}

fn first_failure(failed: Vec<(usize, Error)>) -> Result<()> {
    failed.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
}
