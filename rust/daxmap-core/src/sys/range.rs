//! Host addresses that belong to one owner, and copies in and out of them that never raise a signal.

use super::{Errno, copy};
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr;

/// A range that one `mmap` made, or a part that was split off it, and that nobody else has.
///
/// It is never freed by a drop, since a guest may still reach it: only `release` frees it.
#[derive(Debug)]
pub struct HostRange {
    start: usize,
    length: usize,
}

/// A part of a [`HostRange`].
#[derive(Clone, Copy, Debug)]
pub struct HostSlice<'a> {
    range: PhantomData<&'a HostRange>,
    start: usize,
    length: usize,
}

impl HostSlice<'_> {
    /// Its first address.
    #[must_use]
    pub fn start(&self) -> usize {
        self.start
    }

    /// Its length in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }
}

impl HostRange {
    /// Maps `length` bytes wherever the kernel finds room, so that nothing is replaced.
    pub(super) fn map(
        length: usize,
        protection: i32,
        flags: i32,
        fd: libc::c_int,
        offset: libc::off_t,
    ) -> Result<Self, Errno> {
        debug_assert_eq!(flags & libc::MAP_FIXED, 0);
        // SAFETY: without MAP_FIXED the kernel picks a free range; it checks `fd` and all other arguments.
        let address = unsafe { libc::mmap(ptr::null_mut(), length, protection, flags, fd, offset) };
        if address == libc::MAP_FAILED { Err(Errno::last()) } else { Ok(Self { start: address as usize, length }) }
    }

    #[cfg(target_os = "linux")]
    /// The part of the range from the first multiple of `alignment` on, `length` bytes long; the rest is freed.
    /// The range is at least `alignment` bytes longer than that.
    pub(super) fn trim(self, alignment: usize, length: usize) -> Self {
        let kept = self.start.next_multiple_of(alignment);
        let (kept_end, end) = (kept.wrapping_add(length), self.start.wrapping_add(self.length));
        debug_assert!(kept_end <= end);
        for (from, to) in [(self.start, kept), (kept_end, end)] {
            if from < to {
                // SAFETY: the part lies in the range, which is `self`'s alone, and outside what is kept. Should this
                // fail, a few inaccessible pages stay reserved.
                unsafe { libc::munmap(from as *mut _, to.wrapping_sub(from)) };
            }
        }
        Self { start: kept, length }
    }

    /// Its first address.
    #[must_use]
    pub fn start(&self) -> usize {
        self.start
    }

    /// Its length in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// The addresses of `[offset, offset + length)`, or EINVAL where that leaves the range.
    pub(crate) fn part(&self, offset: u64, length: usize) -> Result<Range<usize>, Errno> {
        let from = usize::try_from(offset).ok();
        let to = from.and_then(|from| from.checked_add(length)).filter(|to| *to <= self.length);
        match (from, to) {
            (Some(from), Some(to)) => Ok(self.start.wrapping_add(from)..self.start.wrapping_add(to)), // one mmap: no wrap
            _ => Err(Errno(libc::EINVAL)),
        }
    }

    /// Two ranges, the second of which starts at `offset`, or at the end where that is past it. Either may be empty.
    pub(crate) fn split(self, offset: usize) -> (Self, Self) {
        let offset = offset.min(self.length);
        let after = Self { start: self.start.wrapping_add(offset), length: self.length.wrapping_sub(offset) };
        (Self { start: self.start, length: offset }, after)
    }

    /// `[offset, offset + length)` of the range, or EINVAL where that leaves it.
    pub(crate) fn slice(&self, offset: u64, length: usize) -> Result<HostSlice<'_>, Errno> {
        let part = self.part(offset, length)?;
        Ok(HostSlice { range: PhantomData, start: part.start, length })
    }

    /// Fills `buffer` from `offset`: EFAULT where no byte of a file is mapped.
    pub(crate) fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Errno> {
        let part = self.part(offset, buffer.len())?;
        copy::read(part.start, buffer)
    }

    /// Stores `data` at `offset`: EFAULT where no byte of a file is mapped, or not for writing.
    pub(crate) fn write(&self, offset: u64, data: &[u8]) -> Result<(), Errno> {
        let part = self.part(offset, data.len())?;
        // SAFETY: the part lies in the range, where Rust has no object.
        unsafe { copy::write(part.start, data) }
    }

    /// Frees the addresses, or gives them back. The caller has made sure that no guest reaches them.
    pub(crate) fn release(self) -> Result<(), (Self, Errno)> {
        if self.length == 0 {
            return Ok(());
        }
        // SAFETY: the range is one that mmap made, or a part that was split off it, and `self` was its only handle.
        let answer = unsafe { libc::munmap(self.start as *mut _, self.length) };
        if answer == 0 { Ok(()) } else { Err((self, Errno::last())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::check;

    #[test]
    fn parts_are_their_models() {
        let size = |number: u64| usize::try_from(number).unwrap();
        let range = |start, length| HostRange { start: size(start), length: size(length) };
        check("host_range_part", |[start, length, offset, part]| {
            let part = range(start, length).part(offset, size(part)).ok();
            part.into_iter().flat_map(|part| [part.start as u64, part.end as u64])
        });
        check("host_range_split", |[start, length, offset]| {
            let (before, after) = range(start, length).split(size(offset));
            [before.start, before.length, after.start, after.length].map(|number| number as u64)
        });
    }
}
