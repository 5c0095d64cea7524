//! Setting a mapping up, or making a read-only one writable.

use super::{Mapper, Open};
use crate::LOG_TARGET;
use crate::addr::{FileOffset, Span, WindowOffset};
use crate::backend::{Failure, Placement};
use crate::error::{Error, Result};
use crate::stats::Departure;
use crate::sys::{FileId, Identified, identify};
use crate::table::Mapping;
use std::os::fd::RawFd;

/// The largest file offset: that of `off_t`.
const MAX_FILE_OFFSET: u64 = i64::MAX.unsigned_abs();

impl Mapper {
    /// Makes `[window_offset, +length)` of the window show `[file_offset, +length)` of the file behind `fd`, which has
    /// to stay open only during the call. Offsets and length are in bytes, multiples of the host's page size. The file
    /// may end inside the range: its pages appear when it grows.
    ///
    /// If the range is exactly that of a live read-only mapping of the same file and offset, and `writable` is wanted,
    /// that mapping becomes writable; the guest finds it there at every moment.
    ///
    /// # Errors
    /// In this order: ENODEV (closed), EPERM (forked child), EINVAL (not aligned, empty, outside the window, past the
    /// largest file offset), EROFS (read-only mapper), EBADF (no open file), ENODEV (no regular file), EEXIST
    /// (overlap), ENOSPC (budget), what `mmap` said, EIO (the guest could not be shown it, or a failed upgrade lost the
    /// range).
    pub fn setup(
        &self,
        fd: RawFd,
        file_offset: FileOffset,
        window_offset: WindowOffset,
        length: u64,
        writable: bool,
    ) -> Result<()> {
        self.answer("setup_mapping", || {
            self.window.check_aligned("file_offset", file_offset.0)?;
            let span = self.window.request(window_offset, length)?;
            if file_offset.0.checked_add(length).is_none_or(|end| end > MAX_FILE_OFFSET) {
                return Err(Error::OutsideFile { offset: file_offset, length });
            }
            if writable && self.options.readonly {
                return Err(Error::ReadOnlyMapper);
            }
            let file = regular_file(fd)?;
            let prefault = self.options.prefault && !writable;
            let placement = Placement { span, fd, file, file_offset, writable, prefault };
            let what = self.locked(|open| match open.table.overlap(span) {
                None => self.set_up(open, &placement),
                Some(live) if upgrades(&placement, live) => self.upgrade(open, &placement),
                Some(live) => Err(Error::Overlap { asked: span, live: live.span }),
            })?;
            log::debug!(
                target: LOG_TARGET,
                "{what} {span}: {} of file {}:{} from {file_offset}",
                if writable { "writable" } else { "read-only" },
                file.dev,
                file.ino
            );
            Ok(())
        })
    }

    fn set_up(&self, open: &mut Open, placement: &Placement) -> Result<&'static str> {
        self.charge_mapping(open)?;
        if let Err(failure) = open.backend.map(placement) {
            self.budget.give_back(self.vmas_per_mapping);
            return Err(refusal(open, placement.span, failure));
        }
        open.table.put(placement.into());
        self.counters.set_up(placement.span.length());
        Ok("set up")
    }

    fn charge_mapping(&self, open: &Open) -> Result<()> {
        let Some(limit) = self.options.max_mappings else {
            if self.budget.try_charge(self.vmas_per_mapping) {
                return Ok(());
            }
            return Err(Error::OverBudget { limit: self.budget.limit(), unit: "memory areas of this process" });
        };
        if open.table.len() as u64 >= limit {
            return Err(Error::OverBudget { limit, unit: "mappings" });
        }
        self.budget.charge_regardless(self.vmas_per_mapping);
        Ok(())
    }

    fn upgrade(&self, open: &mut Open, placement: &Placement) -> Result<&'static str> {
        let mapping: Mapping = placement.into();
        match open.backend.upgrade(placement) {
            Ok(()) => {
                open.table.put(mapping);
                self.counters.upgraded();
                Ok("upgraded")
            }
            Err(Failure::Refused(cause)) => Err(Error::MapFailed { span: mapping.span, cause }),
            Err(Failure::Emptied(cause)) => {
                self.strike(open, &mapping, Departure::Lost);
                Err(Error::Lost { span: mapping.span, cause })
            }
            Err(failure @ Failure::GaveUp(_)) => {
                self.strike(open, &mapping, Departure::Lost);
                Err(refusal(open, mapping.span, failure))
            }
        }
    }
}

/// Whether a request makes a live mapping writable and changes nothing else.
fn upgrades(wanted: &Placement, live: &Mapping) -> bool {
    let writable = Mapping { writable: true, ..*live };
    !live.writable && writable == wanted.into()
}

fn refusal(open: &mut Open, span: Span, failure: Failure) -> Error {
    match failure {
        Failure::Refused(cause) | Failure::Emptied(cause) => Error::MapFailed { span, cause },
        Failure::GaveUp(cause) => {
            open.gave_up = true;
            Error::GaveUp { span, cause }
        }
    }
}

fn regular_file(fd: RawFd) -> Result<FileId> {
    match identify(fd) {
        Ok(Identified::Regular(file)) => Ok(file),
        Ok(Identified::Other(kind)) => Err(Error::NotRegular { fd, kind }),
        Err(errno) => Err(Error::BadDescriptor { fd, errno }),
    }
}

impl From<&Placement> for Mapping {
    fn from(placement: &Placement) -> Self {
        let Placement { span, file_offset, file, writable, .. } = *placement;
        Self { span, file_offset, file, writable }
    }
}
