//! Host windows: pairs in gaps, and setups against a book that is searched from end to end.

use daxmap_core::{
    DAX_RANGE, FileId, FileOffset, GuestAddress, HostWindowBackend, MapRequest, Mapper, Mapping, Options, Overlap,
    Span, WindowOffset,
};
use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::time::Instant;

const PAGE: u64 = 4096;
const WINDOW: u64 = 8 << 30;
const ROUNDS: u32 = 400;
const LIVE: u64 = 1000;
const MANY: u64 = 10_000;

pub(super) fn main() {
    let file = file_of_one_range();
    pairs_in_gaps(&file);
    setups_against_a_full_scan(&file);
}

/// Ranges with holes on both sides, past `first`.
fn gaps(first: u64) -> Vec<u64> {
    (0..200).map(|index| (first + 1 + 2 * index) * DAX_RANGE).collect()
}

fn pairs_in_gaps(file: &File) {
    let ranges = gaps(2 * LIVE);
    let live = (0..LIVE).map(|index| (2 * index * DAX_RANGE, DAX_RANGE));
    let (mapper, bare) = windows(file, live);
    rounds(
        "pair, gap",
        || {
            nanoseconds(&ranges, |offset| {
                set_up(&mapper, file, offset, DAX_RANGE).and_then(|()| remove(&mapper, offset))
            })
        },
        || {
            nanoseconds(&ranges, |offset| {
                bare.place(file, offset, DAX_RANGE);
                bare.clear(offset, DAX_RANGE);
                Some(())
            })
        },
    );
    mapper.drain_all().unwrap();
}

/// The floor has the same book, and searches it from end to end for an overlap.
fn setups_against_a_full_scan(file: &File) {
    let ranges = gaps(WINDOW / DAX_RANGE / 2);
    let live = (0..MANY).map(|index| (index * PAGE, PAGE));
    let (mapper, bare) = windows(file, live.clone());
    let mut book: HashMap<u64, Mapping> =
        live.map(|(offset, length)| (offset, mapping(file, offset, length))).collect();
    rounds(
        "setup, 10,000 live",
        || {
            let time = nanoseconds(&ranges, |offset| set_up(&mapper, file, offset, DAX_RANGE));
            for offset in &ranges {
                remove(&mapper, *offset).unwrap();
            }
            time
        },
        || {
            let time = nanoseconds(&ranges, |offset| {
                let mapping = mapping(file, offset, DAX_RANGE);
                if book.values().any(|live| live.span.overlaps(mapping.span)) {
                    return None;
                }
                bare.place(file, offset, DAX_RANGE);
                book.insert(offset, mapping);
                Some(())
            });
            for offset in &ranges {
                bare.clear(*offset, DAX_RANGE);
                book.remove(offset);
            }
            time
        },
    );
    mapper.drain_all().unwrap();
}

/// Prints the times of the two, and which goes first changes from round to round.
fn rounds(what: &str, mut contender: impl FnMut() -> f64, mut floor: impl FnMut() -> f64) {
    for round in 0..ROUNDS {
        let times = if round % 2 == 0 {
            let first = contender();
            (first, floor())
        } else {
            let first = floor();
            (contender(), first)
        };
        println!("{what}\t{}\t{}", times.0, times.1);
    }
}

/// What each call takes.
fn nanoseconds(offsets: &[u64], mut call: impl FnMut(u64) -> Option<()>) -> f64 {
    let start = Instant::now();
    for offset in offsets {
        call(*offset).unwrap();
    }
    start.elapsed().as_secs_f64() * 1e9 / offsets.len() as f64
}

fn set_up(mapper: &Mapper, file: &File, offset: u64, length: u64) -> Option<()> {
    let (file_offset, window_offset) = (FileOffset(0), WindowOffset(offset));
    let request = MapRequest { file_offset, window_offset, length, writable: false };
    mapper.setup(file.as_raw_fd(), &request, Overlap::Refuse).ok()
}

fn remove(mapper: &Mapper, offset: u64) -> Option<()> {
    mapper.remove(WindowOffset(offset), DAX_RANGE).ok()
}

fn mapping(file: &File, offset: u64, length: u64) -> Mapping {
    let status = file.metadata().unwrap();
    Mapping {
        span: Span::new(WindowOffset(offset), length).unwrap(),
        file_offset: FileOffset(0),
        file: FileId { dev: status.dev(), ino: status.ino() },
        writable: false,
    }
}

/// A mapper's window and a bare one, with the same mappings.
fn windows(file: &File, live: impl Iterator<Item = (u64, u64)>) -> (Mapper, Bare) {
    let options = Options { max_mappings: Some(1 << 20), ..Options::default() };
    let host = HostWindowBackend::new().unwrap();
    let mapper = Mapper::new(GuestAddress(0), WINDOW, options, |window| host.attach(window)).unwrap();
    let bare = Bare::reserve();
    for (offset, length) in live {
        set_up(&mapper, file, offset, length).unwrap();
        bare.place(file, offset, length);
    }
    (mapper, bare)
}

fn file_of_one_range() -> File {
    let path = std::env::temp_dir().join(format!("daxmap-bench-{}", std::process::id()));
    let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file.write_all(&vec![1; DAX_RANGE as usize]).unwrap();
    file
}

/// A window that is worked on as plainly as can be. It is never freed: the process ends soon.
struct Bare {
    start: usize,
}

impl Bare {
    const HOLE: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;

    fn reserve() -> Self {
        // SAFETY: without MAP_FIXED nothing is replaced.
        let wider = unsafe { libc::mmap(std::ptr::null_mut(), (WINDOW + DAX_RANGE) as usize, 0, Self::HOLE, -1, 0) };
        assert_ne!(wider, libc::MAP_FAILED);
        Self { start: (wider as usize).next_multiple_of(DAX_RANGE as usize) }
    }

    fn place(&self, file: &File, offset: u64, length: u64) {
        self.map(offset, length, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd());
    }

    fn clear(&self, offset: u64, length: u64) {
        self.map(offset, length, libc::PROT_NONE, Self::HOLE, -1);
    }

    fn map(&self, offset: u64, length: u64, access: i32, flags: i32, fd: i32) {
        assert!(offset + length <= WINDOW);
        let address = (self.start + offset as usize) as *mut _;
        // SAFETY: the range lies in the reservation, where Rust has no object.
        let answer = unsafe { libc::mmap(address, length as usize, access, flags | libc::MAP_FIXED, fd, 0) };
        assert_ne!(answer, libc::MAP_FAILED);
    }
}
