//! Requests of a guest, byte by byte through decoder and mapper to a window of this process, beside a model of its pages.

mod guest;
mod host;
mod model;

use crate::uapi::{Meaning, meaning};
use daxmap_core::fuse::{Header, Request, decode};
use daxmap_core::{
    Budget, DAX_RANGE, GuestAddress, HostWindowBackend, MapRequest, Mapper, Options, Overlap, Result, page_size,
};
use guest::{Asked, Guest};
use host::{FILE_PAGES, Host, Shared};
use model::{Model, Setup};
use std::cell::LazyCell;

const BASE: u64 = 1 << 40;

thread_local! {
    static HOST: LazyCell<Host> = LazyCell::new(Host::new);
}

/// The first byte has the mapper's options; then come requests: see [`Guest::request`].
pub fn requests(data: &[u8]) {
    let Some((options, data)) = data.split_first() else { return };
    HOST.with(|host| {
        host.fill();
        let before = Budget::of_process().used();
        run(host, *options, Guest::new(data));
        assert_eq!(Budget::of_process().used(), before);
    });
}

fn run(host: &Host, options: u8, mut guest: Guest<'_>) {
    let readonly = options % 8 == 7;
    let max_mappings = (options / 8 % 2 == 1).then_some(u64::from(options / 16 % 4 + 1));
    let window = HostWindowBackend::new().unwrap();
    let settings = Options { readonly, max_mappings, ..Options::default() };
    let mapper = Mapper::new(GuestAddress(BASE), window_size(), settings, |of| window.attach(of)).unwrap();
    let limit = max_mappings.map(|most| usize::try_from(most).unwrap());
    let mut share = Share {
        host,
        mapper,
        model: Model::new(usize::try_from(window_size() / page_size()).unwrap(), readonly, limit),
    };
    while !guest.is_done() {
        match guest.request() {
            Asked::Message(message) => share.answer(&message),
            Asked::Store { window_offset, bytes } => share.store(window_offset, &bytes),
        }
        share.check_book();
        share.check_page(guest.place());
    }
    share.mapper.drain_all().unwrap();
    window.release().unwrap();
}

/// Two ranges, as a Linux guest sets them up, and three pages.
fn window_size() -> u64 {
    2 * DAX_RANGE + 3 * page_size()
}

/// What the VMM has of a guest, and the model of it.
struct Share<'a> {
    host: &'a Host,
    mapper: Mapper,
    model: Model,
}

impl Share<'_> {
    /// Does what a message asks for, as a device does. What is decoded is what is meant, and comes to what the model says.
    fn answer(&mut self, message: &[u8]) {
        let Some(meant) = meaning(message) else { return };
        let (header, body) = Header::parse(message).unwrap();
        match (decode(&header, body), meant) {
            (
                Ok(Request::Setup { nodeid, range, .. }),
                Meaning::Setup { file_offset, window_offset, length, writable, .. },
            ) => {
                let file = self.host.file(nodeid);
                let asked = Setup { file_offset, window_offset, length, writable };
                assert_eq!(self.set_up(&range, file), self.model.setup(asked, file));
            }
            (Ok(Request::Remove(ranges)), Meaning::Remove(_)) if self.model.is_limited() && ranges.len() > 1 => {}
            (Ok(Request::Remove(ranges)), Meaning::Remove(meant)) => {
                assert_eq!(errno(self.mapper.remove_ranges(&ranges)), self.model.remove(&meant));
            }
            (Ok(Request::RemoveAll), Meaning::RemoveAll) => {
                self.model.clear();
                self.mapper.remove_all().unwrap();
            }
            (Ok(Request::Init(_)), Meaning::Init { .. }) | (Ok(Request::Destroy), Meaning::Destroy) => {
                self.model.clear();
                self.mapper.reset().unwrap();
            }
            (Ok(Request::Other), Meaning::Other) | (Err(_), Meaning::Malformed) => {}
            (decoded, meant) => panic!("{decoded:?} is decoded, and {meant:?} is meant"),
        }
    }

    /// What comes of a setup, of a file that may not be there: an errno, or 0.
    fn set_up(&self, range: &MapRequest, file: Option<&Shared>) -> i32 {
        match (self.mapper.check(range), file) {
            (Ok(()), Some(file)) => errno(self.mapper.setup(file.fd(), range, Overlap::Replace)),
            (Ok(()), None) => libc::ENOENT,
            (refused, _) => errno(refused),
        }
    }

    /// The VMM's own store, within a page: it is in the file then, or refused.
    fn store(&mut self, window_offset: u64, bytes: &[u8]) {
        let stored = errno(self.mapper.write(GuestAddress(BASE + window_offset), bytes));
        let Some(shown) = self.model.at(window_offset) else {
            assert_eq!(stored, libc::EFAULT);
            return;
        };
        let is_there = shown.file_offset < FILE_PAGES * page_size();
        assert_eq!(
            stored,
            if !shown.writable {
                libc::EACCES
            } else if is_there {
                0
            } else {
                libc::EFAULT
            }
        );
        if stored == 0 {
            let place = shown.file_offset + window_offset % page_size();
            let in_file = self.host.file_of(shown.file).bytes_at(place).unwrap();
            assert_eq!(in_file[..], *bytes);
        }
    }

    fn check_book(&self) {
        let book = self.model.book();
        assert_eq!(self.mapper.mappings().unwrap(), book);
        for mapping in book.first().into_iter().chain(book.last()) {
            self.check_page(mapping.span.start().0);
            self.check_page(mapping.span.end().0 - page_size());
        }
        let stats = self.mapper.stats();
        let bytes: u64 = book.iter().map(|mapping| mapping.span.length()).sum();
        assert_eq!((stats.live_mappings, stats.live_bytes), (book.len() as u64, bytes));
    }

    /// What this process sees at a place of the window, and what the mapper reads there, is what the file has.
    fn check_page(&self, window_offset: u64) {
        if window_offset >= window_size() {
            return;
        }
        let window_offset = window_offset / page_size() * page_size();
        let start = self.mapper.host_address().unwrap() as u64;
        let seen = self.host.seen_at(start + window_offset);
        let read = self.mapper.read(GuestAddress(BASE + window_offset), 8).ok();
        let Some(shown) = self.model.at(window_offset) else {
            assert_eq!(read, None);
            assert_eq!(seen.unwrap_or_default(), [0; 8], "a hole shows something"); // a hole may be unreadable, or zeros
            return;
        };
        let expected = self.host.file_of(shown.file).bytes_at(shown.file_offset);
        assert_eq!(seen, expected);
        assert_eq!(read.as_deref(), expected.as_ref().map(<[u8; 8]>::as_slice));
    }
}

fn errno(result: Result<()>) -> i32 {
    result.map_or_else(|error| error.errno().0, |()| 0)
}
