//! What the end of a file cuts, where a front end shows no byte past it: a copy in memory of our own, kept in step.
//!
//! The copy is of the file's bytes from its last whole page on, to the end of the range that the guest asked for: a file that
//! grows needs no other mapping. What the guest has stored in the copy goes to the file before the server looks at the file
//! ([`Copied::settle`]), and what has come to the file since goes to the copy before the guest hears of it
//! ([`Copied::refresh`]). Both write the bytes that differ from what was last seen, and no others.

use rustix::fs::{FallocateFlags, MemfdFlags, fstat};
use rustix::io::{pread, pwrite};
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// How much is compared at a time.
const CHUNK: usize = 64 << 10;

/// Memory for the copies of a window: that of a byte is where the window shows the byte.
#[derive(Debug)]
pub(crate) struct Memory(OwnedFd);

impl Memory {
    pub(crate) fn new(window: u64) -> io::Result<Self> {
        let memory = rustix::fs::memfd_create("daxmap-copies", MemfdFlags::CLOEXEC)?;
        rustix::fs::ftruncate(&memory, window)?;
        Ok(Self(memory))
    }

    /// Gives the memory of a range back. It is all zeros then.
    pub(crate) fn free(&self, window_offset: u64, length: u64) -> io::Result<()> {
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(rustix::fs::fallocate(&self.0, hole, window_offset, length)?)
    }
}

impl AsFd for Memory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// When a file was last changed, as far as it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    size: u64,
    // Nanoseconds are i64 on some processors and u64 on others.
    modified: (i64, i128),
    changed: (i64, i128),
}

/// A range of a file, and where its copy lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) file: BorrowedFd<'a>,
    pub(crate) memory: &'a Memory,
    pub(crate) file_offset: u64,
    pub(crate) window_offset: u64,
    pub(crate) length: u64,
}

/// What was last seen of a range of a file.
#[derive(Debug, Default)]
pub(crate) struct Copied {
    /// The bytes, up to the file's end.
    seen: Vec<u8>,
    /// The file's stamp then; `None` where it does not prove that the file is the same.
    stamp: Option<Stamp>,
}

impl Copied {
    /// Writes to the file what the guest has stored in the copy.
    pub(crate) fn settle(&mut self, place: &Place<'_>) -> io::Result<()> {
        let (size, _) = stamp(place.file)?;
        let length = self.seen.len().min(within(place, size));
        let mut buffer = vec![0; CHUNK.min(length)];
        let mut at = 0;
        while at < length {
            let now = read(place.memory, &mut buffer, place.window_offset, at..length)?;
            let seen = self.seen.get_mut(at..at.saturating_add(now.len())).unwrap_or_default();
            for run in runs(seen, now) {
                let (from, bytes) = (at.saturating_add(run.start), now.get(run).unwrap_or_default());
                write(place.file, bytes, place.file_offset, from)?;
                self.stamp = None;
            }
            seen.copy_from_slice(now.get(..seen.len()).unwrap_or_default());
            at = at.saturating_add(now.len());
        }
        Ok(())
    }

    /// Writes to the copy what has come to the file.
    pub(crate) fn refresh(&mut self, place: &Place<'_>) -> io::Result<()> {
        let (size, stamp) = stamp(place.file)?;
        if stamp.is_some() && self.stamp == stamp {
            return Ok(());
        }
        let length = within(place, size);
        let known = self.seen.len().min(length);
        self.erase(place, length)?;
        let mut buffer = vec![0; CHUNK.min(length)];
        let mut at = 0;
        while at < length {
            let end = if at < known { known } else { length };
            let now = read(place.file, &mut buffer, place.file_offset, at..end)?;
            if now.is_empty() {
                return self.erase(place, at); // it has just been made shorter
            }
            let seen = self.seen.get(at..end.min(known)).unwrap_or_default();
            let seen = seen.get(..now.len()).unwrap_or(seen);
            // Past what was seen the guest may have stored what is no part of any file.
            let all = 0..now.len();
            let changed = if at < known { runs(seen, now) } else { vec![all] };
            for run in changed {
                let (from, bytes) = (at.saturating_add(run.start), now.get(run).unwrap_or_default());
                write(place.memory, bytes, place.window_offset, from)?;
            }
            let next = at.saturating_add(now.len());
            self.seen.resize(self.seen.len().max(next), 0);
            self.seen.get_mut(at..next).unwrap_or_default().copy_from_slice(now);
            at = next;
        }
        self.stamp = stamp;
        Ok(())
    }

    /// Makes the copy zeros from `length` on, where bytes were.
    fn erase(&mut self, place: &Place<'_>, length: usize) -> io::Result<()> {
        let zeros = [0; 4096];
        for at in (length..self.seen.len()).step_by(zeros.len()) {
            let some = zeros.get(..self.seen.len().saturating_sub(at).min(zeros.len())).unwrap_or_default();
            write(place.memory, some, place.window_offset, at)?;
        }
        self.seen.truncate(length);
        Ok(())
    }
}

/// How many bytes of a file of `size` bytes lie in the range.
fn within(place: &Place<'_>, size: u64) -> usize {
    usize::try_from(size.saturating_sub(place.file_offset).min(place.length)).unwrap_or(0)
}

/// A file's size, and its stamp, unless a change in the same tick of the clock would leave that as it is.
fn stamp(file: BorrowedFd<'_>) -> io::Result<(u64, Option<Stamp>)> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
    let stat = fstat(file)?;
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let stamp = Stamp {
        size,
        modified: (stat.st_mtime, stat.st_mtime_nsec.into()),
        changed: (stat.st_ctime, stat.st_ctime_nsec.into()),
    };
    Ok((size, is_settled(stat.st_mtime.max(stat.st_ctime), now).then_some(stamp)))
}

/// Whether a change from `now` on, in seconds, gets another time than that of the last one.
fn is_settled(last: i64, now: i64) -> bool {
    const TICK: i64 = 2; // of the coarsest clock of a file system (FAT's)
    last.checked_add(TICK).is_some_and(|then| then < now)
}

/// The ranges in which two runs of bytes differ.
fn runs(old: &[u8], new: &[u8]) -> Vec<Range<usize>> {
    if old == new {
        return Vec::new();
    }
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (at, _) in old.iter().zip(new).enumerate().filter(|(_, (old, new))| old != new) {
        let end = at.saturating_add(1);
        match runs.last_mut() {
            Some(last) if last.end == at => last.end = end,
            _ => runs.push(at..end),
        }
    }
    runs
}

/// Reads a part of `range`, whose 0 is at `base`, into `buffer`. Empty at the file's end.
fn read(file: impl AsFd, buffer: &mut [u8], base: u64, range: Range<usize>) -> io::Result<&[u8]> {
    let length = buffer.len().min(range.len());
    let buffer = buffer.get_mut(..length).unwrap_or_default();
    let count = pread(file, &mut *buffer, base.saturating_add(range.start as u64))?;
    Ok(buffer.get(..count).unwrap_or_default())
}

fn write(file: impl AsFd, bytes: &[u8], base: u64, at: usize) -> io::Result<()> {
    let mut rest = bytes;
    let mut offset = base.saturating_add(at as u64);
    while !rest.is_empty() {
        let count = pwrite(&file, rest, offset)?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        rest = rest.get(count..).unwrap_or_default();
        offset = offset.saturating_add(count as u64);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    struct Rig {
        file: File,
        memory: Memory,
        copied: Copied,
    }

    impl Rig {
        const OFFSET: u64 = 4096;

        fn new(bytes: &[u8]) -> Self {
            let file = File::from(rustix::fs::memfd_create("file", MemfdFlags::CLOEXEC).unwrap());
            file.write_all_at(bytes, Self::OFFSET).unwrap();
            Self { file, memory: Memory::new(1 << 20).unwrap(), copied: Copied::default() }
        }

        fn with(&mut self, call: impl FnOnce(&mut Copied, &Place<'_>)) {
            let place = Place {
                file: self.file.as_fd(),
                memory: &self.memory,
                file_offset: Self::OFFSET,
                window_offset: 8192,
                length: 300_000,
            };
            call(&mut self.copied, &place);
        }

        fn refresh(&mut self) {
            self.with(|copied, place| copied.refresh(place).unwrap());
        }

        fn settle(&mut self) {
            self.with(|copied, place| copied.settle(place).unwrap());
        }

        fn store(&self, at: u64, bytes: &[u8]) {
            pwrite(&self.memory, bytes, 8192 + at).unwrap();
        }

        fn shown(&self, length: usize) -> Vec<u8> {
            let mut bytes = vec![0; length];
            pread(&self.memory, &mut bytes[..], 8192).unwrap();
            bytes
        }

        fn bytes(&self, length: usize) -> Vec<u8> {
            let mut bytes = vec![0; length];
            let count = self.file.read_at(&mut bytes, Self::OFFSET).unwrap();
            bytes.truncate(count);
            bytes
        }
    }

    #[test]
    fn stores_of_both_sides_meet() {
        let mut rig = Rig::new(b"0123456789");
        rig.refresh();
        assert_eq!(rig.shown(12), b"0123456789\0\0");
        rig.store(1, b"AB");
        rig.file.write_all_at(b"xy", Rig::OFFSET + 6).unwrap();
        rig.settle();
        assert_eq!(rig.bytes(20), b"0AB345xy89", "only what the guest stored is written");
        rig.refresh();
        assert_eq!(rig.shown(12), b"0AB345xy89\0\0");
    }

    #[test]
    fn growth_shows_the_file_and_not_what_lay_past_its_end() {
        let mut rig = Rig::new(b"0123");
        rig.refresh();
        rig.store(4, b"JUNK");
        rig.file.write_all_at(&vec![7; 200_000], Rig::OFFSET + 6).unwrap();
        rig.settle();
        rig.refresh();
        let mut expected = b"0123\0\0".to_vec();
        expected.extend(vec![7; 200_000]);
        assert_eq!(rig.shown(200_006), expected);
        assert_eq!(rig.bytes(300_000), expected, "and the junk is in no file");
    }

    #[test]
    fn a_shorter_file_shows_zeros_where_it_was_longer() {
        let mut rig = Rig::new(&vec![9; 100_000]);
        rig.refresh();
        rig.file.set_len(Rig::OFFSET + 5).unwrap();
        rig.settle();
        assert_eq!(rig.bytes(20), [9; 5], "settling makes no file longer");
        rig.refresh();
        let shown = rig.shown(100_000);
        assert!(shown[..5] == [9; 5] && shown[5..].iter().all(|byte| *byte == 0));
        rig.file.set_len(0).unwrap();
        rig.refresh();
        assert_eq!(rig.shown(5), [0; 5]);
    }

    /// A file that has not changed for a while is read all the same when it is first copied.
    #[test]
    fn an_old_file_is_copied() {
        let file = File::open("/proc/self/exe").unwrap();
        let memory = Memory::new(4096).unwrap();
        let place = Place { file: file.as_fd(), memory: &memory, file_offset: 0, window_offset: 0, length: 4096 };
        let mut copied = Copied::default();
        for _ in 0..2 {
            copied.refresh(&place).unwrap();
            let mut bytes = [0; 4096];
            pread(&memory, &mut bytes[..], 0).unwrap();
            let mut expected = [0; 4096];
            file.read_exact_at(&mut expected, 0).unwrap();
            assert!(bytes == expected);
        }
    }

    #[test]
    fn a_stamp_is_settled_when_two_seconds_are_over() {
        assert!(is_settled(10, 13) && is_settled(-10, 13));
        assert!(!is_settled(10, 12) && !is_settled(10, 10) && !is_settled(10, 9) && !is_settled(i64::MAX, 13));
    }

    #[test]
    fn runs_are_the_bytes_that_differ() {
        assert_eq!(runs(b"abcdef", b"abcdef"), []);
        assert_eq!(runs(b"abcdef", b"aXXdeX"), [1..3, 5..6]);
    }
}
