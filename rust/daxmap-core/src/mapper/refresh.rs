//! Mapping a file again that became another one underneath.

use super::setup::regular_file;
use super::{Mapper, Open};
use crate::backend::{Change, Placement};
use crate::book::Mapping;
use crate::error::Result;
use crate::sys::FileId;
use std::os::fd::RawFd;

impl Mapper {
    /// Maps every live mapping of the file behind `fd` again, from this descriptor, in place; returns how many.
    ///
    /// For a file that became another one underneath, with the same identity: on overlayfs the first open for writing
    /// copies a file up, and mappings made before go on showing the lower one.
    ///
    /// # Errors
    /// In this order: ENODEV (closed), EPERM (forked child), EBADF (no open file), ENODEV (no regular file). Each mapping
    /// is tried, and the first error is returned: what `mmap` said (EACCES: a mapping is writable, and `fd` is not), or
    /// EIO. A mapping that was refused shows what it showed, unless it was lost.
    ///
    /// # Examples
    /// ```
    /// # mod doc { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/mapper.rs")); }
    /// # use {daxmap_core::*, doc::*};
    /// # let (mapper, file) = (mapper()?, file()?);
    /// # let (page, fd) = (mapper.page_size(), std::os::fd::AsRawFd::as_raw_fd(&file));
    /// mapper.setup(fd, &request(0, page), Overlap::Refuse)?;
    /// mapper.setup(fd, &request(page, page), Overlap::Refuse)?;
    /// assert_eq!(mapper.refresh(fd)?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn refresh(&self, fd: RawFd) -> Result<u64> {
        self.attempt("refresh", || {
            let file = regular_file(fd)?;
            let refreshed = self.locked(|open| self.map_again(open, fd, file))?;
            self.debug(format_args!("mapped file {}:{} again, {refreshed} mappings", file.dev, file.ino));
            Ok(refreshed)
        })
    }

    fn map_again(&self, open: &mut Open, fd: RawFd, file: FileId) -> Result<u64> {
        let mappings: Vec<Mapping> = open.book.iter().filter(|mapping| mapping.file == file).copied().collect();
        open.backend.renew(file);
        let mut refreshed = Ok(0_u64);
        for old in mappings {
            let Mapping { span, file_offset, writable, .. } = old;
            let new = Placement { span, fd, file, file_offset, writable, prefault: false };
            let changed = self.change(open, &Change { span, old: &[old], new: Some(&new) }, None);
            refreshed = match (refreshed, changed) {
                (Ok(count), Ok(())) => Ok(count.saturating_add(1)),
                (Ok(_), Err(error)) => Err(error),
                (first, _) => first,
            };
        }
        refreshed
    }
}
