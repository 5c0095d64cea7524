//! What the kernel says of a range of this process: `proc_pid_maps(5)`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::ops::Range;

/// What a range of a window is believed to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Nothing: anonymous memory that can't be accessed.
    Hole,
    /// A shared mapping of a file.
    File { ino: u64, file_offset: u64, writable: bool },
}

/// Whether each range is wholly mapped as it says. The ranges rise. False where that can't be found out.
pub(crate) fn all_shown(expected: impl IntoIterator<Item = (Range<usize>, Shown)>) -> bool {
    let Ok(file) = File::open("/proc/self/maps") else { return false };
    let mut vmas = BufReader::new(file).lines().map_while(|line| parse(&line.ok()?));
    let mut current = vmas.next();
    for (range, shown) in expected {
        let mut covered = range.start;
        while covered < range.end {
            match &current {
                Some(vma) if vma.range.end <= covered => current = vmas.next(),
                Some(vma) if vma.range.start <= covered && vma.shows(shown, range.start) => {
                    covered = vma.range.end;
                }
                _ => return false,
            }
        }
    }
    true
}

#[derive(Debug, PartialEq, Eq)]
struct Vma {
    range: Range<usize>,
    permissions: String,
    offset: u64,
    ino: u64,
}

impl Vma {
    /// `start` is where the range begins that should be shown, in or before this VMA.
    fn shows(&self, shown: Shown, start: usize) -> bool {
        match shown {
            Shown::Hole => self.permissions == "---p" && self.ino == 0,
            Shown::File { ino, file_offset, writable } => {
                // Widened to signed: a VMA that begins before the range has a smaller file offset than the range.
                let (start, vma_start) = (start as i128, self.range.start as i128);
                let expected = i128::from(file_offset).wrapping_add(vma_start.wrapping_sub(start));
                self.permissions == if writable { "rw-s" } else { "r--s" }
                    && self.ino == ino
                    && i128::from(self.offset) == expected
            }
        }
    }
}

/// One line: `start-end perms offset dev inode path`, numbers in hex but for the inode.
fn parse(line: &str) -> Option<Vma> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let range = usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?;
    let permissions = fields.next()?.to_owned();
    let offset = u64::from_str_radix(fields.next()?, 16).ok()?;
    let _dev = fields.next()?;
    let ino = fields.next()?.parse().ok()?;
    Some(Vma { range, permissions, offset, ino })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_a_line_of_the_kernel() {
        let vma = parse("7f0000200000-7f0000400000 r--s 00003000 08:02 1234  /srv/share/a b").unwrap();
        assert_eq!(vma.range, 0x7f00_0020_0000..0x7f00_0040_0000);
        assert_eq!((vma.permissions.as_str(), vma.offset, vma.ino), ("r--s", 0x3000, 1234));
        assert_eq!(parse("not a line"), None);
    }

    #[test]
    fn tells_the_expected_file_range_from_others() {
        let vma = parse("7f0000200000-7f0000400000 r--s 00003000 08:02 1234 /f").unwrap();
        let file = |ino, file_offset, writable| Shown::File { ino, file_offset, writable };
        assert!(vma.shows(file(1234, 0x3000, false), 0x7f00_0020_0000));
        assert!(vma.shows(file(1234, 0x4000, false), 0x7f00_0020_1000), "the range begins inside the VMA");
        assert!(vma.shows(file(1234, 0x2000, false), 0x7f00_001f_f000), "the range begins before the VMA");
        assert!(!vma.shows(file(1235, 0x3000, false), 0x7f00_0020_0000));
        assert!(!vma.shows(file(1234, 0x3000, true), 0x7f00_0020_0000));
        assert!(!vma.shows(file(1234, 0x3000, false), 0x7f00_0020_1000));
        assert!(!vma.shows(Shown::Hole, 0x7f00_0020_0000));
    }

    #[test]
    fn finds_this_very_code_mapped() {
        let here = finds_this_very_code_mapped as *const () as usize;
        assert!(!all_shown([(here..here + 1, Shown::Hole)]), "code is no hole");
        assert!(!all_shown([(0..1, Shown::Hole)]), "nothing is mapped at 0");
        assert!(all_shown([]));
    }
}
