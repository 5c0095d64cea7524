//! What the kernel says lies in a range of this process's addresses.
//!
//! Asked when an `mmap` over a part of a window has failed, while the mapper's lock is held; so it has to be quick among
//! any number of mappings, and to work in a sandbox. In this order:
//!
//! 1. `PROCMAP_QUERY` (Linux 6.11, include/uapi/linux/fs.h): one look-up a VMA, however many there are.
//! 2. Reading `maps` (`proc_pid_maps(5)`) up to the end of the range: that file can't be entered in its middle.
//! 3. Without `/proc`: `mincore(2)`, which says ENOMEM if a page of a range is free; and of a range without a free page,
//!    `process_vm_readv(2)`, which can read none of a hole's. So a hole is told from memory that is in use; not from
//!    another's inaccessible memory, which looks the same to 1 and 2 too, nor from a mapping that lies wholly past the
//!    end of its file. Which file is mapped where no system call tells, so there the answer is [`Seen::Unknown`].
//!
//! The first two ask a descriptor kept from before (`procfs.rs`). Other calls don't help: those that tell mappings
//! apart change them too (`mprotect`, `madvise`, `mremap`), and they may be another thread's.

use super::procfs::{ProcSelf, proc_self};
use super::vma::{READABLE, Reader, SHARED, Vma, WRITABLE, query};
use super::{Errno, copy, page_size};
use std::ops::Range;

/// What a range of a window is believed to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Nothing: anonymous memory that can't be accessed.
    Hole,
    /// A shared mapping of a file.
    File { ino: u64, file_offset: u64, writable: bool },
}

/// How what lies in ranges compares with what was expected there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    AsExpected,
    Otherwise,
    /// It can't be found out, for this reason.
    Unknown(Errno),
}

/// Whether each range is wholly mapped as it says. The ranges are of whole pages, and rise.
pub(crate) fn compare<E>(expected: E) -> Seen
where
    E: IntoIterator<Item = (Range<usize>, Shown), IntoIter: Clone>,
{
    let expected = expected.into_iter();
    let told = proc_self().and_then(|proc| {
        let queried = compare_by(expected.clone(), |address| query(proc, address));
        queried.or_else(|_| compare_by_reading(proc, expected.clone()))
    });
    match told {
        Ok(true) => Seen::AsExpected,
        Ok(false) => Seen::Otherwise,
        Err(errno) => compare_without_proc(expected, errno),
    }
}

/// All VMAs, if the kernel answers no query, so that each look-up would read `maps` from its beginning.
pub(super) fn unless_queried(proc: &ProcSelf) -> Option<Vec<Range<usize>>> {
    query(proc, 0).is_err().then(|| ranges(proc).unwrap_or_default())
}

/// All VMAs, by rising address.
pub(super) fn ranges(proc: &ProcSelf) -> Result<Vec<Range<usize>>, Errno> {
    Reader::new(proc)?.map(|vma| vma.map(|vma| vma.range)).collect()
}

/// The VMA that holds `address`, if one does.
pub(super) fn vma_at(proc: &ProcSelf, address: usize) -> Result<Option<Range<usize>>, Errno> {
    let vma = query(proc, address).or_else(|_| Reader::new(proc)?.vma_at(address))?;
    Ok(vma.map(|vma| vma.range))
}

/// `vma_at` gives the VMA that holds an address. The addresses asked for rise.
fn compare_by(
    expected: impl Iterator<Item = (Range<usize>, Shown)>,
    mut vma_at: impl FnMut(usize) -> Result<Option<Vma>, Errno>,
) -> Result<bool, Errno> {
    for (range, shown) in expected {
        let mut covered = range.start;
        while covered < range.end {
            match vma_at(covered)? {
                Some(vma) if vma.shows(shown, range.start) => covered = vma.range.end,
                _ => return Ok(false),
            }
        }
    }
    Ok(true)
}

fn compare_by_reading(proc: &ProcSelf, expected: impl Iterator<Item = (Range<usize>, Shown)>) -> Result<bool, Errno> {
    let mut reader = Reader::new(proc)?;
    compare_by(expected, |address| reader.vma_at(address))
}

/// As the module says: holes are known by what can't be done with them.
fn compare_without_proc(expected: impl Iterator<Item = (Range<usize>, Shown)>, why: Errno) -> Seen {
    let mut seen = Seen::AsExpected;
    for (range, shown) in expected {
        match (is_wholly_mapped(&range), shown) {
            (Ok(true), Shown::Hole) => match can_be_read(range) {
                Ok(false) => {}
                Ok(true) => return Seen::Otherwise,
                Err(_) => seen = Seen::Unknown(why),
            },
            (Ok(false), _) => return Seen::Otherwise,
            (Ok(true), Shown::File { .. }) | (Err(_), _) => seen = Seen::Unknown(why),
        }
    }
    seen
}

/// Whether no page of a range is free: `mincore(2)`.
fn is_wholly_mapped(range: &Range<usize>) -> Result<bool, Errno> {
    let mut is_resident = [0; 1024]; // of a page each; what it says is of no interest
    for start in range.clone().step_by(is_resident.len().saturating_mul(page())) {
        let length = range.end.saturating_sub(start).min(is_resident.len().saturating_mul(page()));
        // SAFETY: the kernel looks at the addresses, and writes a byte for each of their pages to the array, which has
        // as many.
        let answer = unsafe { libc::mincore(start as *mut _, length, is_resident.as_mut_ptr()) };
        match Errno::last() {
            _ if answer == 0 => {}
            Errno(libc::ENOMEM) => return Ok(false),
            errno => return Err(errno),
        }
    }
    Ok(true)
}

/// Whether any page of a range can be read.
fn can_be_read(range: Range<usize>) -> Result<bool, Errno> {
    for start in range.step_by(page()) {
        match copy::read_checked(start, &mut [0]) {
            Ok(()) => return Ok(true),
            Err(Errno(libc::EFAULT)) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(false)
}

fn page() -> usize {
    usize::try_from(page_size()).unwrap_or(4096)
}

impl Vma {
    /// `start` is where the range begins that should be shown, in or before this VMA.
    fn shows(&self, shown: Shown, start: usize) -> bool {
        match shown {
            Shown::Hole => self.access == 0 && self.ino == 0,
            Shown::File { ino, file_offset, writable } => {
                // Widened to signed: a VMA that begins before the range has a smaller file offset than the range.
                let (start, vma_start) = (start as i128, self.range.start as i128);
                let expected = i128::from(file_offset).wrapping_add(vma_start.wrapping_sub(start));
                self.access == SHARED | READABLE | if writable { WRITABLE } else { 0 }
                    && self.ino == ino
                    && i128::from(self.offset) == expected
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{FileRange, Reservation};
    use std::ffi::OsString;
    use std::fs::{self, File};
    use std::os::fd::AsRawFd;
    use std::os::unix::ffi::OsStringExt;
    use std::os::unix::fs::MetadataExt;

    /// Nothing is ever mapped at 0: `vm.mmap_min_addr`.
    const FREE: Range<usize> = 0..0x1_0000;

    #[test]
    fn tells_the_expected_file_range_from_others() {
        let range = 0x7f00_0020_0000..0x7f00_0040_0000;
        let vma = Vma { range, access: READABLE | SHARED, offset: 0x3000, ino: 1234 };
        let file = |ino, file_offset, writable| Shown::File { ino, file_offset, writable };
        assert!(vma.shows(file(1234, 0x3000, false), 0x7f00_0020_0000));
        assert!(vma.shows(file(1234, 0x4000, false), 0x7f00_0020_1000), "the range begins inside the VMA");
        assert!(vma.shows(file(1234, 0x2000, false), 0x7f00_001f_f000), "the range begins before the VMA");
        assert!(!vma.shows(file(1235, 0x3000, false), 0x7f00_0020_0000));
        assert!(!vma.shows(file(1234, 0x3000, true), 0x7f00_0020_0000));
        assert!(!vma.shows(file(1234, 0x3000, false), 0x7f00_0020_1000));
        assert!(!vma.shows(Shown::Hole, 0x7f00_0020_0000));
    }

    type Expected = Vec<(Range<usize>, Shown)>;

    /// A window that shows a file in pages 2 and 3 of 8. In the file's name is a byte that is no UTF-8.
    struct Rig {
        window: Reservation,
        file: File,
    }

    impl Rig {
        fn new(name: &str) -> Self {
            let mut unique = format!("daxmap-{name}-{}-", std::process::id()).into_bytes();
            unique.push(0xff);
            let path = std::env::temp_dir().join(OsString::from_vec(unique));
            fs::write(&path, vec![7; 4 * page()]).unwrap();
            let file = File::open(&path).unwrap();
            fs::remove_file(path).unwrap();
            let mut window = Reservation::new(8 * page(), page()).unwrap();
            let range = FileRange { fd: file.as_raw_fd(), offset: page_size(), length: 2 * page() };
            window.place(2 * page_size(), &range, false).unwrap();
            Self { window, file }
        }

        fn pages(&self, pages: Range<usize>) -> Range<usize> {
            let start = self.window.range().start();
            start + pages.start * page()..start + pages.end * page()
        }

        fn file(&self, pages: Range<usize>, page_of_file: u64, writable: bool) -> (Range<usize>, Shown) {
            let ino = self.file.metadata().unwrap().ino();
            (self.pages(pages), Shown::File { ino, file_offset: page_of_file * page_size(), writable })
        }

        fn hole(&self, pages: Range<usize>) -> (Range<usize>, Shown) {
            (self.pages(pages), Shown::Hole)
        }

        /// Expectations, and whether they are true.
        fn cases(&self) -> Vec<(Expected, bool)> {
            vec![
                (vec![], true),
                (vec![self.hole(0..0)], true),
                (vec![self.hole(0..2), self.file(2..4, 1, false)], true),
                (vec![self.hole(0..1), self.hole(1..2), self.file(2..3, 1, false), self.file(3..4, 2, false)], true),
                (vec![self.hole(4..8)], true),
                (vec![self.hole(0..3)], false),
                (vec![self.file(2..4, 2, false)], false),
                (vec![self.file(2..4, 1, true)], false),
                (vec![self.file(1..3, 0, false)], false),
                (vec![self.hole(0..2), self.file(2..4, 1, false), self.hole(4..8)], true),
                (vec![(FREE, Shown::Hole), self.hole(0..2)], false),
                (vec![(FREE, Shown::File { ino: 0, file_offset: 0, writable: false })], false),
            ]
        }
    }

    #[test]
    fn proc_tells_what_lies_in_a_range_whichever_way_it_is_asked() {
        let (rig, proc) = (Rig::new("ways"), proc_self().unwrap());
        for (expected, is_there) in rig.cases() {
            let seen = if is_there { Seen::AsExpected } else { Seen::Otherwise };
            assert_eq!(compare(expected.clone()), seen, "{expected:?}");
            assert_eq!(compare_by_reading(proc, expected.clone().into_iter()), Ok(is_there), "{expected:?}");
            match compare_by(expected.clone().into_iter(), |address| query(proc, address)) {
                Err(Errno(libc::ENOTTY)) => {} // before Linux 6.11
                told => assert_eq!(told, Ok(is_there), "{expected:?}"),
            }
        }
    }

    /// What can't be told is never taken for what was expected, nor for anything else.
    #[test]
    fn without_proc_holes_are_told_and_files_are_not() {
        let rig = Rig::new("without");
        let why = Errno(libc::ENOENT);
        for (expected, is_there) in rig.cases() {
            let names_a_file = expected.iter().any(|(_, shown)| *shown != Shown::Hole);
            let seen = compare_without_proc(expected.clone().into_iter(), why);
            let allowed = match (is_there, names_a_file) {
                (true, false) => [Seen::AsExpected; 2],
                (true, true) => [Seen::Unknown(why); 2],
                (false, false) => [Seen::Otherwise; 2],
                (false, true) => [Seen::Otherwise, Seen::Unknown(why)],
            };
            assert!(allowed.contains(&seen), "{expected:?}: {seen:?}");
        }
        let free_then_file = [(FREE, Shown::Hole), rig.file(2..4, 1, false)];
        assert_eq!(compare_without_proc(free_then_file.into_iter(), why), Seen::Otherwise, "a free page is found");
    }

    #[test]
    fn a_hole_has_neither_access_nor_a_file() {
        let vma = |access, ino| Vma { range: 0..1, access, offset: 0, ino }.shows(Shown::Hole, 0);
        assert_eq!([vma(0, 0), vma(READABLE, 0), vma(0, 7)], [true, false, false]);
    }

    #[test]
    fn memory_in_use_is_no_hole() {
        let here = memory_in_use_is_no_hole as *const () as usize & !(page() - 1);
        let used = [(here..here + page(), Shown::Hole)];
        assert_eq!(compare(used.clone()), Seen::Otherwise);
        assert_eq!(compare_without_proc(used.into_iter(), Errno(libc::ENOENT)), Seen::Otherwise);
    }
}
