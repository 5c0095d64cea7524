//! Requests by chance, for a window of a few pages: threads are to meet in it.

use crate::sys::is_child;
use daxmap_core::{Error, FileOffset, GuestAddress, MapRequest, Mapper, Overlap, WindowOffset, page_size};
use shuttle::rand::{Rng, thread_rng};
use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::OnceLock;

pub(crate) const BASE: GuestAddress = GuestAddress(1 << 32);
pub(crate) const PAGES: usize = 4;

/// This program, whose pages are mapped.
pub(crate) fn file() -> RawFd {
    static FILE: OnceLock<File> = OnceLock::new();
    FILE.get_or_init(|| File::open(std::env::current_exe().unwrap()).unwrap()).as_raw_fd()
}

/// A range of one or two pages.
pub(crate) fn range() -> (WindowOffset, u64) {
    let first = thread_rng().gen_range(0..PAGES as u64 - 1);
    (WindowOffset(first * page_size()), thread_rng().gen_range(1..=2) * page_size())
}

pub(crate) fn set_up(mapper: &Mapper, overlap: Overlap) -> Result<(), Error> {
    let (window_offset, length) = range();
    let file_offset = FileOffset(thread_rng().gen_range(0..8) * page_size());
    mapper.setup(file(), &MapRequest { file_offset, window_offset, length, writable: false }, overlap)
}

/// Maps or removes something. Where others were faster, that is refused.
pub(crate) fn change(mapper: &Mapper) {
    let (offset, length) = range();
    match thread_rng().gen_range(0..6) {
        0 => expect(set_up(mapper, Overlap::Refuse), &[libc::EEXIST]),
        1 => expect(set_up(mapper, Overlap::Replace), &[]),
        2 => expect(mapper.remove(offset, length), &[libc::ENOENT, libc::EINVAL]),
        3 => expect(mapper.remove_range(offset, length), &[]),
        4 => expect(mapper.remove_batch(&[range(), range()]), &[]),
        _ => expect(mapper.refresh(file()), &[]),
    }
}

/// The same; or takes all away, reads, writes, or looks at what there is.
pub(crate) fn any(mapper: &Mapper) {
    let address = GuestAddress(BASE.0 + range().0.0);
    match thread_rng().gen_range(0..12) {
        0 => expect(mapper.reset(), &[]),
        1 => expect(mapper.remove_all(), &[]),
        2 => expect(mapper.read(address, page_size()), &[libc::EFAULT]),
        3 => expect(mapper.write(address, b"no"), &[libc::EFAULT, libc::EACCES]),
        4 => expect(mapper.resolve(address, 1, false), &[libc::EFAULT]),
        5 => {
            let spans: Vec<_> = mapper.mappings().unwrap().iter().map(|mapping| mapping.span).collect();
            assert!(spans.is_sorted_by(|one, next| one.end() <= next.start()), "{spans:?}");
        }
        _ => change(mapper),
    }
}

/// 0 for a success.
pub(crate) fn errno<T>(answer: Result<T, Error>) -> i32 {
    answer.map_or_else(|error| error.errno().0, |_| 0)
}

/// Success; or a refusal that others may be the reason of; or that the mapper is closed, a range lent, this a forked child.
fn expect<T>(answer: Result<T, Error>, refusals: &[i32]) {
    let errno = errno(answer);
    let always = [0, libc::ENODEV, libc::EBUSY].contains(&errno);
    assert!(always || refusals.contains(&errno) || (is_child() && errno == libc::EPERM), "errno {errno}");
}
