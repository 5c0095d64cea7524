//! Requests of a guest, byte by byte through decoder and mapper to a window of this process, beside a model of its pages.

mod host;
mod model;

use crate::uapi::{Meaning, meaning};
use crate::wire::{self, with_right_length};
use daxmap_core::fuse::{Header, Request, decode};
use daxmap_core::{Budget, DAX_RANGE, GuestAddress, HostWindowBackend, Mapper, Options, Overlap, Result};
use host::{FILE_PAGES, Host};
use model::{Model, Setup};
use std::cell::LazyCell;

/// The host's, for which the requests are made: not all hosts', but fuzzing is for those that have it.
const PAGE: u64 = 4096;
/// Two ranges, as a Linux guest sets them up, and three pages.
const WINDOW: u64 = 2 * DAX_RANGE + 3 * PAGE;
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
        run(host, *options, Guest(data));
        assert_eq!(Budget::of_process().used(), before);
    });
}

fn run(host: &Host, options: u8, mut guest: Guest<'_>) {
    let readonly = options % 8 == 7;
    let max_mappings = (options / 8 % 2 == 1).then_some(u64::from(options / 16 % 4 + 1));
    let window = HostWindowBackend::new().unwrap();
    let settings = Options { readonly, max_mappings, ..Options::default() };
    let mapper = Mapper::new(GuestAddress(BASE), WINDOW, settings, |of| window.attach(of)).unwrap();
    let limit = max_mappings.map(|most| usize::try_from(most).unwrap());
    let mut share = Share { host, mapper, model: Model::new(page_of(WINDOW), readonly, limit) };
    while !guest.0.is_empty() {
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

fn page_of(offset: u64) -> usize {
    usize::try_from(offset / PAGE).unwrap()
}

/// What the VMM has of a guest, and the model of it.
struct Share<'a> {
    host: &'a Host,
    mapper: Mapper,
    model: Model,
}

impl Share<'_> {
    /// Does what a message asks for, as a device does.
    fn answer(&mut self, message: &[u8]) {
        let Some(expected) = meaning(message) else { return };
        let (header, body) = Header::parse(message).unwrap();
        let decoded = decode(&header, body);
        let (errno, should_be) = match (decoded, expected) {
            (Ok(Request::Remove(ranges)), Meaning::Remove(_)) if self.model.is_limited() && ranges.len() > 1 => return,
            (
                Ok(Request::Setup { nodeid, range, .. }),
                Meaning::Setup { file_offset, window_offset, length, writable, .. },
            ) => {
                let file = self.host.file(nodeid);
                let asked = Setup { file_offset, window_offset, length, writable };
                let done = self.mapper.check(&range).map_err(|error| error.errno().0);
                let done = done.and_then(|()| file.ok_or(libc::ENOENT));
                let set_up = |file: &host::Shared| errno(self.mapper.setup(file.fd(), &range, Overlap::Replace));
                (done.map_or_else(|errno| errno, set_up), self.model.setup(asked, file))
            }
            (Ok(Request::Remove(ranges)), Meaning::Remove(expected)) => {
                (errno(self.mapper.remove_ranges(&ranges)), self.model.remove(&expected))
            }
            (Ok(Request::RemoveAll), Meaning::RemoveAll) => {
                self.model.clear();
                (errno(self.mapper.remove_all()), 0)
            }
            (Ok(Request::Init(_)), Meaning::Init { .. }) | (Ok(Request::Destroy), Meaning::Destroy) => {
                self.model.clear();
                (errno(self.mapper.reset()), 0)
            }
            (Ok(Request::Other), Meaning::Other) | (Err(_), Meaning::Malformed) => return,
            (decoded, expected) => panic!("{decoded:?} is decoded, and {expected:?} is meant"),
        };
        assert_eq!(errno, should_be);
    }

    /// The VMM's own store, within a page: it is in the file then, or refused.
    fn store(&mut self, window_offset: u64, bytes: &[u8]) {
        let stored = errno(self.mapper.write(GuestAddress(BASE + window_offset), bytes));
        let Some(shown) = self.model.at(window_offset) else {
            assert_eq!(stored, libc::EFAULT);
            return;
        };
        let is_there = shown.file_offset < FILE_PAGES * PAGE;
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
            let place = shown.file_offset + window_offset % PAGE;
            let in_file = self.host.file_of(shown.file).bytes_at(place).unwrap();
            assert_eq!(in_file[..], *bytes);
        }
    }

    fn check_book(&self) {
        let book = self.model.book();
        assert_eq!(self.mapper.mappings().unwrap(), book);
        for mapping in book.first().into_iter().chain(book.last()) {
            self.check_page(mapping.span.start().0);
            self.check_page(mapping.span.end().0 - PAGE);
        }
        let stats = self.mapper.stats();
        let bytes: u64 = book.iter().map(|mapping| mapping.span.length()).sum();
        assert_eq!((stats.live_mappings, stats.live_bytes), (book.len() as u64, bytes));
    }

    /// What this process sees at a place of the window, and what the mapper reads there, is what the file has.
    fn check_page(&self, window_offset: u64) {
        if window_offset >= WINDOW {
            return;
        }
        let window_offset = window_offset / PAGE * PAGE;
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

/// What a guest asks, or a VMM.
enum Asked {
    Message(Vec<u8>),
    /// Of 8 bytes within a page of the window.
    Store {
        window_offset: u64,
        bytes: [u8; 8],
    },
}

/// Makes requests of bytes: mostly such as come near to the ends of ranges, and overlap.
struct Guest<'a>(&'a [u8]);

impl Guest<'_> {
    fn request(&mut self) -> Asked {
        Asked::Message(match self.byte() % 16 {
            0..8 => {
                let nodeid = u64::from(self.byte() % 8 % 5);
                let file_offset = self.file_offset();
                let (window_offset, length) = (self.place(), self.length());
                wire::setup(nodeid, file_offset, length, 2 + u64::from(self.byte() % 2), window_offset)
            }
            8..11 => {
                let ranges = (0..=self.byte() % 4).map(|_| (self.place(), self.length()));
                wire::remove(&ranges.collect::<Vec<_>>())
            }
            11 => wire::remove(&[(0, u64::MAX)]),
            12 => wire::message(wire::INIT, 0, &wire::init(u32::MAX, u32::MAX)),
            13 => wire::message(wire::DESTROY, 0, &[]),
            14 => {
                let length = usize::from(self.byte()).min(self.0.len());
                let (message, rest) = self.0.split_at(length);
                self.0 = rest;
                with_right_length(message.to_vec())
            }
            _ => {
                let window_offset = self.place() % WINDOW / PAGE * PAGE + u64::from(self.byte()) * 8;
                return Asked::Store { window_offset, bytes: self.long().to_le_bytes() };
            }
        })
    }

    /// A window offset: near the end of a range, or any.
    fn place(&mut self) -> u64 {
        match (self.byte(), self.byte()) {
            (255, _) => self.long(),
            (range, page) => (u64::from(range % 3) * DAX_RANGE + u64::from(page % 16) * PAGE).wrapping_sub(4 * PAGE),
        }
    }

    fn length(&mut self) -> u64 {
        match self.byte() {
            255 => self.long(),
            pages @ 192.. => DAX_RANGE - 2 * PAGE + u64::from(pages % 8) * PAGE,
            pages => u64::from(pages % 32) * PAGE,
        }
    }

    fn file_offset(&mut self) -> u64 {
        match self.byte() {
            255 => self.long(),
            page => u64::from(page % 8) * PAGE,
        }
    }

    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *byte
    }

    fn long(&mut self) -> u64 {
        u64::from_le_bytes([(); 8].map(|()| self.byte()))
    }
}
