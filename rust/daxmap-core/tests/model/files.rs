//! Files to map.

use daxmap_core::FileId;
use std::fs::OpenOptions;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A file without a name, and how it is open.
#[derive(Debug)]
pub(crate) struct File {
    open: std::fs::File,
    pub(crate) id: FileId,
    pub(crate) writable: bool,
}

impl File {
    /// A file of `length` bytes, each 512 of which differ from all others; open for reading and writing, and once
    /// more for reading only.
    pub(crate) fn pair(length: u64) -> [Self; 2] {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Relaxed);
        let path = std::env::temp_dir().join(format!("daxmap-model-{}-{number}", std::process::id()));
        let both = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
        let mut content = vec![0; usize::try_from(length).unwrap()];
        for (block, bytes) in (1u64..).zip(content.chunks_exact_mut(512)) {
            bytes[..8].copy_from_slice(&(block << 32 | u64::from(number)).to_le_bytes());
        }
        both.write_all_at(&content, 0).unwrap();
        let read_only = std::fs::File::open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        [(both, true), (read_only, false)].map(|(open, writable)| {
            let of = open.metadata().unwrap();
            Self { id: FileId { dev: of.dev(), ino: of.ino() }, open, writable }
        })
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.open.as_raw_fd()
    }

    /// What a mapping of `[offset, +length)` shows: the bytes up to the end of the file's last page.
    pub(crate) fn shown(&self, offset: u64, length: u64, page: u64) -> Vec<u8> {
        let end = self.open.metadata().unwrap().len().next_multiple_of(page);
        let mut bytes = vec![0; usize::try_from(length.min(end.saturating_sub(offset))).unwrap()];
        let mut read = 0;
        while read < bytes.len() {
            match self.open.read_at(&mut bytes[read..], offset + read as u64).unwrap() {
                0 => break,
                more => read += more,
            }
        }
        bytes
    }
}
