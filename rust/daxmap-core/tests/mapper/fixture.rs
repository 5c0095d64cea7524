//! A mapper in a host window, and a file to map.

use daxmap_core::{
    FileOffset, GuestAddress, HostWindowBackend, MapRequest, Mapper, Options, Overlap, WindowOffset, page_size,
};
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

pub(crate) const BASE: u64 = 1 << 32;

/// A mapper of 16 pages. It is given back, and drained, by [`end`].
pub(crate) fn mapper(options: Options) -> (Mapper, HostWindowBackend) {
    let window = HostWindowBackend::new().unwrap();
    let mapper = Mapper::new(GuestAddress(BASE), 16 * page_size(), options, |of| window.attach(of));
    (mapper.unwrap(), window)
}

pub(crate) fn end((mapper, window): (Mapper, HostWindowBackend)) {
    mapper.drain_all().unwrap();
    window.release().unwrap();
}

/// A file of so many bytes, which are the numbers of their pages.
pub(crate) struct Numbered {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
}

impl Numbered {
    pub(crate) fn new(length: u64) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("daxmap-mapper-{}-{}", std::process::id(), MADE.fetch_add(1, Relaxed));
        let path = std::env::temp_dir().join(name);
        let content: Vec<u8> = (0..length).map(|offset| u8::try_from(offset / page_size()).unwrap()).collect();
        std::fs::write(&path, content).unwrap();
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        Self { file, path }
    }

    /// Shows `pages` of the file, from page `from` on, at page `at` of the window.
    pub(crate) fn show(&self, mapper: &Mapper, from: u64, at: u64, pages: u64, writable: bool) {
        let [file_offset, window_offset, length] = [from, at, pages].map(|pages| pages * page_size());
        let (file_offset, window_offset) = (FileOffset(file_offset), WindowOffset(window_offset));
        let request = MapRequest { file_offset, window_offset, length, writable };
        mapper.setup(self.file.as_raw_fd(), &request, Overlap::Refuse).unwrap();
    }
}

impl Drop for Numbered {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The guest address of a byte of a page of the window.
pub(crate) fn address(page: u64, byte: u64) -> GuestAddress {
    GuestAddress(BASE + page * page_size() + byte)
}
