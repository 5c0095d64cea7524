//! A window's own addresses, and files shown in them.

use super::file_range::protection;
use super::{Errno, FileRange, HostRange};
use std::os::fd::RawFd;

/// A range of addresses that belongs to nobody else: inaccessible, until a file is placed in it.
///
/// Every method that replaces what a part of it shows does so in one step, so that no other thread's `mmap` can land in
/// a gap.
#[derive(Debug)]
pub(crate) struct Reservation {
    range: HostRange,
}

/// Two kinds of holes, alike but that the kernel does not merge one with the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HoleKind {
    Plain,
    Distinct,
}

impl HoleKind {
    /// `MAP_NORESERVE` says nothing about memory that can't be accessed; but it is kept in the VMA's flags, and VMAs of
    /// different flags don't merge (`is_mergeable_vma` of mm/vma.c).
    fn flags(self) -> i32 {
        let anonymous = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        match self {
            Self::Plain => anonymous | libc::MAP_NORESERVE,
            Self::Distinct => anonymous,
        }
    }
}

impl Reservation {
    /// Reserves `length` bytes at a multiple of `alignment`, a power of two and a multiple of the page size.
    pub(crate) fn new(length: usize, alignment: usize) -> Result<Self, Errno> {
        let wider = length.checked_add(alignment).ok_or(Errno(libc::ENOMEM))?;
        let range = HostRange::map(wider, libc::PROT_NONE, HoleKind::Plain.flags(), -1, 0)?;
        Ok(Self { range: range.trim(alignment, length) })
    }

    /// Shows a range of a file at `offset`, in place of whatever was there.
    ///
    /// On failure that may be there still, or be gone: the kernel may have removed it before it asked the file.
    pub(crate) fn place(&mut self, offset: u64, file: &FileRange, writable: bool) -> Result<(), Errno> {
        let flags = libc::MAP_SHARED | libc::MAP_FIXED;
        self.map(offset, file.length, protection(writable), flags, file.fd, file.offset()?)
    }

    /// Brings the pages of a read-only mapping in now (`MADV_POPULATE_READ`, Linux 5.14), as far as they can be had.
    pub(crate) fn populate(&mut self, offset: u64, length: usize) {
        let Ok(part) = self.range.part(offset, length) else { return };
        // SAFETY: the part lies in the reservation; the advice changes no byte of it. What it can't bring in, it leaves.
        unsafe { libc::madvise(part.start as *mut _, part.len(), libc::MADV_POPULATE_READ) };
    }

    /// Makes `[offset, offset + length)` a hole, in place of whatever was there. On failure, as [`Self::place`].
    pub(crate) fn clear(&mut self, offset: u64, length: usize, kind: HoleKind) -> Result<(), Errno> {
        self.map(offset, length, libc::PROT_NONE, kind.flags() | libc::MAP_FIXED, -1, 0)
    }

    /// Makes `[offset, offset + length)` a hole if nothing at all is there: EEXIST otherwise.
    pub(crate) fn refill(&mut self, offset: u64, length: usize, kind: HoleKind) -> Result<(), Errno> {
        self.map(offset, length, libc::PROT_NONE, kind.flags() | libc::MAP_FIXED_NOREPLACE, -1, 0)
    }

    fn map(
        &mut self,
        offset: u64,
        length: usize,
        protection: i32,
        flags: i32,
        fd: RawFd,
        file_offset: libc::off_t,
    ) -> Result<(), Errno> {
        let range = self.range.part(offset, length)?;
        let address = range.start as *mut libc::c_void;
        // SAFETY: `range` lies in the reservation, where Rust has no object and nobody else has memory: what others
        // know of it they know through `self`, which is borrowed exclusively. The kernel checks `fd`.
        let answer = unsafe { libc::mmap(address, range.len(), protection, flags, fd, file_offset) };
        if answer == libc::MAP_FAILED { Err(Errno::last()) } else { Ok(()) }
    }

    /// The addresses themselves.
    pub(crate) fn range(&self) -> &HostRange {
        &self.range
    }

    /// Frees the addresses, or gives them back. The caller has made sure that no guest reaches them.
    pub(crate) fn release(self) -> Result<(), (Self, Errno)> {
        self.range.release().map_err(|(range, errno)| (Self { range }, errno))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{Seen, Shown, compare, resident_pages};
    use std::io::Write;
    use std::os::fd::AsRawFd;

    const PAGE: usize = 4096;

    fn file(name: &str, content: &[u8]) -> std::fs::File {
        let path = std::env::temp_dir().join(format!("daxmap-{name}-{}", std::process::id()));
        let mut file =
            std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file.write_all(content).unwrap();
        file
    }

    #[test]
    fn refuses_ranges_outside() {
        let mut reservation = Reservation::new(4 * PAGE, PAGE).unwrap();
        for (offset, length) in [(4 * PAGE, PAGE), (3 * PAGE, 2 * PAGE), (usize::MAX - PAGE + 1, 2 * PAGE)] {
            assert_eq!(reservation.clear(offset as u64, length, HoleKind::Plain), Err(Errno(libc::EINVAL)));
        }
        reservation.release().unwrap();
    }

    #[test]
    fn is_aligned_and_wholly_owned() {
        for _ in 0..8 {
            let reservation = Reservation::new(3 * PAGE, 2 << 20).unwrap();
            assert!(reservation.range().start().is_multiple_of(2 << 20));
            let range = reservation.range().part(0, 3 * PAGE).unwrap();
            assert_eq!(compare([(range, Shown::Hole)]), Seen::AsExpected);
            reservation.release().unwrap();
        }
    }

    #[test]
    fn what_alignment_took_is_given_back() {
        let is_free = |start: usize| compare([(start..start.wrapping_add(PAGE), Shown::Hole)]) == Seen::Otherwise;
        // Another thread may be quick to take it.
        assert!((0..100).any(|_| {
            let reservation = Reservation::new(3 * PAGE, 2 << 20).unwrap();
            let (start, end) = (reservation.range().start(), reservation.range().start() + 3 * PAGE);
            let both = is_free(start - PAGE) && is_free(end);
            reservation.release().unwrap();
            both
        }));
    }

    #[test]
    fn pages_are_brought_in_when_they_are_asked_for() {
        let file = file("populate", &[]);
        file.set_len(2 * PAGE as u64).unwrap();
        let mut reservation = Reservation::new(4 * PAGE, PAGE).unwrap();
        let range = FileRange { fd: file.as_raw_fd(), offset: 0, length: 2 * PAGE };
        reservation.place(PAGE as u64, &range, false).unwrap();
        let start = reservation.range().start() + PAGE;
        let resident = || resident_pages(start, 2 * PAGE as u64).unwrap();
        assert_eq!(resident(), [false, false]);
        reservation.populate(PAGE as u64, PAGE);
        assert!(resident()[0], "the host may have read ahead");
        reservation.release().unwrap();
    }

    #[test]
    fn shows_a_file_and_takes_it_away() {
        let file = file("place", &[7; PAGE]);
        let mut reservation = Reservation::new(4 * PAGE, PAGE).unwrap();
        let range = FileRange { fd: file.as_raw_fd(), offset: 0, length: 2 * PAGE };
        range.probe(true).unwrap();
        reservation.place(PAGE as u64, &range, true).unwrap();
        let mut byte = [0];
        reservation.range().read(PAGE as u64, &mut byte).unwrap();
        assert_eq!(byte, [7]);
        reservation.range().write(PAGE as u64, &[9]).unwrap();
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut byte, 0).unwrap();
        assert_eq!(byte, [9]);
        assert_eq!(
            reservation.range().read(2 * PAGE as u64, &mut byte),
            Err(Errno(libc::EFAULT)),
            "past the end of the file"
        );
        assert_eq!(reservation.refill(PAGE as u64, PAGE, HoleKind::Plain), Err(Errno(libc::EEXIST)));
        reservation.clear(PAGE as u64, 2 * PAGE, HoleKind::Distinct).unwrap();
        assert_eq!(reservation.range().read(PAGE as u64, &mut byte), Err(Errno(libc::EFAULT)), "a hole");
        reservation.release().unwrap();
    }
}
