//! Setting a mapping up: in a hole, in place of others, or as the upgrade of a read-only one.

use super::{Mapper, Open};
use crate::addr::{FileOffset, Span, WindowOffset};
use crate::backend::{Change, Placement};
use crate::error::{Error, Result};
use crate::stats::Departure;
use crate::sys::{FileId, Identified, identify, length};
use std::os::fd::RawFd;

/// The largest file offset: that of `off_t`.
const MAX_FILE_OFFSET: u64 = i64::MAX.unsigned_abs();

/// What is asked to be shown. All values are in bytes, and multiples of the host's page size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapRequest {
    /// Start of the range in the file.
    pub file_offset: FileOffset,
    /// Start of the range in the window.
    pub window_offset: WindowOffset,
    /// Length of both. The file may end inside the range: its pages appear when it grows.
    pub length: u64,
    /// Whether the guest may store to it.
    pub writable: bool,
}

/// What becomes of live mappings where a new one is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// They stay, and the new one is refused (EEXIST).
    Refuse,
    /// They are replaced, or cut where only a part of them is: VIRTIO 1.3, file system device, "DAX Window".
    Replace,
}

impl Mapper {
    /// Every check of [`Self::setup`] that needs no descriptor: for callers who have to open the file first. A failure is
    /// counted and logged as one of a setup.
    ///
    /// # Errors
    /// In this order: ENODEV (closed), EPERM (forked child), EINVAL (not aligned, empty, outside the window, past the
    /// largest file offset), EROFS (read-only mapper).
    pub fn check(&self, request: &MapRequest) -> Result<()> {
        self.attempt("setup_mapping", || self.span_of(request).map(drop))
    }

    /// Makes a range of the window show a range of the file behind `fd`, which has to stay open only during the call.
    ///
    /// If the range is exactly that of a live read-only mapping of the same file and offset, and a writable one is
    /// wanted, that mapping becomes writable; the guest finds it there at every moment.
    ///
    /// # Errors
    /// In this order: those of [`Self::check`], EBADF (no open file), ENODEV (no regular file), EEXIST (overlap, unless
    /// it may be replaced), EBUSY (lent, see [`Self::resolve`]), ENOSPC (budget), what `mmap` said, EIO (the guest could not be shown it; or a change that
    /// failed lost mappings, see [`Error::Lost`]).
    ///
    /// # Examples
    /// ```
    /// # mod doc { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/mapper.rs")); }
    /// # use {daxmap_core::*, doc::*};
    /// # let (mapper, file) = (mapper()?, file()?);
    /// # let (page, fd) = (mapper.page_size(), std::os::fd::AsRawFd::as_raw_fd(&file));
    /// let (file_offset, window_offset, length) = (FileOffset(0), WindowOffset(0), mapper.page_size());
    /// let request = |writable| MapRequest { file_offset, window_offset, length, writable };
    /// mapper.setup(fd, &request(false), Overlap::Refuse)?;
    /// mapper.setup(fd, &request(true), Overlap::Refuse)?; // the same range: an upgrade
    /// assert_eq!((mapper.stats().setup_count, mapper.stats().upgrade_count), (1, 1));
    /// let refused = mapper.setup(fd, &request(true), Overlap::Refuse).unwrap_err();
    /// assert!(matches!(refused, Error::Overlap { .. }));
    /// mapper.setup(fd, &request(true), Overlap::Replace)?; // what a guest means
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn setup(&self, fd: RawFd, request: &MapRequest, overlap: Overlap) -> Result<()> {
        self.attempt("setup_mapping", || {
            let span = self.span_of(request)?;
            let file = regular_file(fd)?;
            let MapRequest { file_offset, writable, .. } = *request;
            let prefault = self.options.prefault && !writable;
            let placement = Placement { span, fd, file, file_offset, writable, prefault };
            let done = self.locked(|open| self.show(open, &placement, overlap))?;
            self.debug(format_args!(
                "{done} {span}: {} of file {}:{} from {file_offset}",
                if writable { "writable" } else { "read-only" },
                file.dev,
                file.ino
            ));
            Ok(())
        })
    }

    /// Shows a whole file from `window_offset` on: its length, rounded up to pages, which is returned. Pages that it grows by
    /// later are not shown.
    ///
    /// # Errors
    /// As [`Self::setup`], and EINVAL where the file is empty. What depends on its length comes after the file.
    ///
    /// # Examples
    /// ```
    /// # mod doc { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/mapper.rs")); }
    /// # use {daxmap_core::*, doc::*};
    /// # let (mapper, file) = (mapper()?, file()?);
    /// # let (page, fd) = (mapper.page_size(), std::os::fd::AsRawFd::as_raw_fd(&file));
    /// file.set_len(page + 1)?;
    /// assert_eq!(mapper.map_file(fd, WindowOffset(0), false, Overlap::Refuse)?, 2 * page);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn map_file(&self, fd: RawFd, window_offset: WindowOffset, writable: bool, overlap: Overlap) -> Result<u64> {
        let length = self.attempt("map_file", || {
            self.window.check_aligned("window_offset", window_offset.0)?;
            self.check_access(writable)?;
            regular_file(fd)?;
            let length = length(fd).map_err(|errno| Error::BadDescriptor { fd, errno })?;
            if length == 0 { Err(Error::EmptyFile { fd }) } else { Ok(whole_pages(length, self.page_size())) }
        })?;
        let request = MapRequest { file_offset: FileOffset(0), window_offset, length, writable };
        self.setup(fd, &request, overlap).map(|()| length)
    }

    /// The range of the window that a request is for, if it may be granted.
    fn span_of(&self, request: &MapRequest) -> Result<Span> {
        let MapRequest { file_offset, window_offset, length, writable } = *request;
        self.window.check_aligned("file_offset", file_offset.0)?;
        let span = self.window.request(window_offset, length)?;
        if !fits_in_file(file_offset, length) {
            return Err(Error::OutsideFile { offset: file_offset, length });
        }
        self.check_access(writable).map(|()| span)
    }

    fn check_access(&self, writable: bool) -> Result<()> {
        if writable && self.options.readonly { Err(Error::ReadOnlyMapper) } else { Ok(()) }
    }

    fn show(&self, open: &mut Open, placement: &Placement, overlap: Overlap) -> Result<&'static str> {
        let span = placement.span;
        let old = open.book.overlapping(span);
        let change = Change { span, old: &old, new: Some(placement) };
        let is_upgrade = placement.writable && change.alters_access_of().is_some();
        if let (Some(live), Overlap::Refuse, false) = (old.last(), overlap, is_upgrade) {
            return Err(Error::Overlap { asked: span, live: live.span });
        }
        self.refuse_lent(span)?;
        if is_upgrade {
            self.change(open, &change, None)?;
            self.counters.upgraded();
            return Ok("upgraded");
        }
        // If the guest may see something here still, the new mapping takes its place: whatever comes of this, go on.
        let _ = open.settle(span);
        self.change(open, &change, Some(Departure::Replaced))?;
        self.counters.set_up(span.length());
        Ok(if old.is_empty() { "set up" } else { "replaced" })
    }
}

/// A file's length, rounded up to pages. One that reaches past 2**63 is refused with the request.
fn whole_pages(length: u64, page_size: u64) -> u64 {
    length.checked_next_multiple_of(page_size).unwrap_or(length)
}

fn fits_in_file(offset: FileOffset, length: u64) -> bool {
    offset.0.checked_add(length).is_some_and(|end| end <= MAX_FILE_OFFSET)
}

pub(super) fn regular_file(fd: RawFd) -> Result<FileId> {
    match identify(fd) {
        Ok(Identified::Regular(file)) => Ok(file),
        Ok(Identified::HugePages) => Err(Error::HugePages { fd }),
        Ok(Identified::Other(kind)) => Err(Error::NotRegular { fd, kind }),
        Err(errno) => Err(Error::BadDescriptor { fd, errno }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::check;

    #[test]
    fn lengths_are_their_models() {
        check("whole_pages", |[length, page_size]| [whole_pages(length, page_size)]);
        check("fits_in_file", |[offset, length]| [u64::from(fits_in_file(FileOffset(offset), length))]);
    }
}
