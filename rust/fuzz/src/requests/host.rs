//! What the host has, whichever input is tried: files in memory, and a view of this process's memory past all book-keeping.

use daxmap_core::{FileId, page_size};
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileExt, MetadataExt};

/// Pages that each file has.
pub(crate) const FILE_PAGES: u64 = 5;

/// A file as a guest is given it.
#[derive(Debug)]
pub(crate) struct Shared {
    file: File,
    pub(crate) id: FileId,
    pub(crate) can_write: bool,
}

#[derive(Debug)]
pub(crate) struct Host {
    /// By nodeid, from 1 on: two files for reading and writing, then the same for reading only.
    files: Vec<Shared>,
    memory: File,
}

impl Host {
    pub(crate) fn new() -> Self {
        let files = [(); 2].map(|()| File::from(memfd_create("daxmap-fuzz", MemfdFlags::CLOEXEC).unwrap()));
        let to_read = |file: &File| File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
        let read_only = files.each_ref().map(to_read);
        let shared = |can_write| move |file| Shared::new(file, can_write);
        let files = files.into_iter().map(shared(true)).chain(read_only.into_iter().map(shared(false))).collect();
        Self { files, memory: File::open("/proc/self/mem").unwrap() }
    }

    /// Has every 8 bytes of the files differ from all others.
    pub(crate) fn fill(&self) {
        for (number, shared) in (1..).zip(&self.files).filter(|(_, shared)| shared.can_write) {
            let content: Vec<u8> =
                (0..FILE_PAGES * page_size() / 8).flat_map(|at: u64| (at << 8 | number).to_le_bytes()).collect();
            shared.file.write_all_at(&content, 0).unwrap();
        }
    }

    pub(crate) fn file(&self, nodeid: u64) -> Option<&Shared> {
        self.files.get(usize::try_from(nodeid.checked_sub(1)?).ok()?)
    }

    pub(crate) fn file_of(&self, id: FileId) -> &Shared {
        self.files.iter().find(|shared| shared.id == id).unwrap()
    }

    /// The bytes at an address of this process; none where there is no page.
    pub(crate) fn seen_at(&self, address: u64) -> Option<[u8; 8]> {
        let mut bytes = [0; 8];
        self.memory.read_exact_at(&mut bytes, address).ok().map(|()| bytes)
    }
}

impl Shared {
    fn new(file: File, can_write: bool) -> Self {
        let of = file.metadata().unwrap();
        Self { id: FileId { dev: of.dev(), ino: of.ino() }, file, can_write }
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// The bytes at an offset; none past the end of the file.
    pub(crate) fn bytes_at(&self, offset: u64) -> Option<[u8; 8]> {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, offset).ok().map(|()| bytes)
    }
}
