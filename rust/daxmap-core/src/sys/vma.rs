//! A VMA of this process as the kernel tells of it: by `PROCMAP_QUERY` (Linux 6.11) or in `maps` (`proc_pid_maps(5)`).

use super::Errno;
use super::procfs::ProcSelf;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, Split};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::MutexGuard;

/// What is told of a VMA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Vma {
    pub(super) range: Range<usize>,
    /// `PROCMAP_QUERY_VMA_*`.
    pub(super) access: u64,
    pub(super) offset: u64,
    /// 0 for anonymous memory.
    pub(super) ino: u64,
}

/// `PROCMAP_QUERY_VMA_READABLE` and so on, of include/uapi/linux/fs.h.
pub(super) const READABLE: u64 = 1;
pub(super) const WRITABLE: u64 = 2;
const EXECUTABLE: u64 = 4;
pub(super) const SHARED: u64 = 8;

/// `_IOWR('f', 17, struct procmap_query)` of include/uapi/linux/fs.h.
const PROCMAP_QUERY: libc::Ioctl = 0xc068_6611_u32 as libc::Ioctl;

/// `struct procmap_query` of include/uapi/linux/fs.h.
#[repr(C)]
#[derive(Default)]
struct ProcmapQuery {
    size: u64,
    query_flags: u64,
    query_addr: u64,
    vma_start: u64,
    vma_end: u64,
    vma_flags: u64,
    vma_page_size: u64,
    vma_offset: u64,
    inode: u64,
    dev_major: u32,
    dev_minor: u32,
    /// 0: the name is not asked for, and neither is the build id.
    vma_name_size: u32,
    build_id_size: u32,
    vma_name_addr: u64,
    build_id_addr: u64,
}

/// The VMA that holds `address`, if one does.
pub(super) fn query(proc: &ProcSelf, address: usize) -> Result<Option<Vma>, Errno> {
    let size = size_of::<ProcmapQuery>() as u64;
    let mut query = ProcmapQuery { size, query_addr: address as u64, ..ProcmapQuery::default() };
    // SAFETY: the request reads and writes one `struct procmap_query`, which the pointer is of, and is told that there
    // are no buffers for a name and a build id.
    let answer = unsafe { libc::ioctl(proc.maps().as_fd().as_raw_fd(), PROCMAP_QUERY, &raw mut query) };
    if answer != 0 {
        let errno = Errno::last();
        return if errno.0 == libc::ENOENT { Ok(None) } else { Err(errno) };
    }
    // Addresses of this process fit its own usize.
    #[allow(clippy::cast_possible_truncation)]
    let range = query.vma_start as usize..query.vma_end as usize;
    Ok(Some(Vma { range, access: query.vma_flags, offset: query.vma_offset, ino: query.inode }))
}

/// Reads `maps` once, from its beginning.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    /// `maps` has one file offset for all.
    _reading: MutexGuard<'a, ()>,
    lines: Split<BufReader<&'a File>>,
    current: Option<Vma>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(proc: &'a ProcSelf) -> Result<Self, Errno> {
        let (reading, mut maps) = proc.maps_for_reading();
        maps.rewind().map_err(|error| errno_of(&error))?;
        // Lines are bytes: names of files are.
        Ok(Self { _reading: reading, lines: BufReader::new(maps).split(b'\n'), current: None })
    }

    /// The VMA that holds `address`, if one does. The addresses asked for rise.
    pub(super) fn vma_at(&mut self, address: usize) -> Result<Option<Vma>, Errno> {
        while self.current.as_ref().is_none_or(|vma| vma.range.end <= address) {
            let Some(vma) = self.next() else { return Ok(None) };
            self.current = Some(vma?);
        }
        Ok(self.current.clone().filter(|vma| vma.range.contains(&address)))
    }
}

impl Iterator for Reader<'_> {
    type Item = Result<Vma, Errno>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.lines.next()?.map_err(|error| errno_of(&error));
        Some(line.and_then(|line| parse(&String::from_utf8_lossy(&line)).ok_or(Errno(libc::EBADMSG))))
    }
}

fn errno_of(error: &std::io::Error) -> Errno {
    Errno(error.raw_os_error().unwrap_or(libc::EIO))
}

/// One line: `start-end perms offset dev inode path`, numbers in hex but for the inode.
fn parse(line: &str) -> Option<Vma> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let range = usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?;
    let permissions = fields.next()?.chars().zip([('r', READABLE), ('w', WRITABLE), ('x', EXECUTABLE), ('s', SHARED)]);
    let access = permissions.filter(|(given, (letter, _))| given == letter).map(|(_, (_, bit))| bit).sum();
    let offset = u64::from_str_radix(fields.next()?, 16).ok()?;
    let _dev = fields.next()?;
    let ino = fields.next()?.parse().ok()?;
    Some(Vma { range, access, offset, ino })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_a_line_of_the_kernel() {
        let vma = parse("7f0000200000-7f0000400000 r--s 00003000 08:02 1234  /srv/share/a b").unwrap();
        assert_eq!(vma.range, 0x7f00_0020_0000..0x7f00_0040_0000);
        assert_eq!((vma.access, vma.offset, vma.ino), (READABLE | SHARED, 0x3000, 1234));
        assert_eq!(parse("0-1 rwxp 0 08:02 1").unwrap().access, READABLE | WRITABLE | EXECUTABLE);
        assert_eq!(parse("not a line"), None);
    }
}
