//! Reading directories.

use super::paths::{Attributes, step};
use super::{Share, errno};
use fuse_backend_rs::api::filesystem::{DirEntry, Entry};
use rustix::fs::{RawDir, RawDirEntry, SeekFrom, seek};
use std::io;
use std::mem::MaybeUninit;
use std::sync::{Arc, PoisonError};

/// How much of a directory is read at once, in bytes.
const AT_ONCE: usize = 16 << 10;

impl Share {
    /// Gives the entries from `offset` on to `add`, until that has no room (0).
    pub(super) fn entries(
        &self,
        nodeid: u64,
        fh: u64,
        offset: u64,
        mut add: impl FnMut(DirEntry<'_>, &RawDirEntry<'_>) -> io::Result<usize>,
    ) -> io::Result<()> {
        let handle = self.handles.get(nodeid, fh)?;
        let _held = handle.position.lock().unwrap_or_else(PoisonError::into_inner);
        // An offset is what getdents(2) gave with the entry before.
        seek(&handle.file, SeekFrom::Start(offset)).map_err(|_| errno(libc::EINVAL))?;
        let mut buffer = [MaybeUninit::uninit(); AT_ONCE];
        let mut directory = RawDir::new(&handle.file, &mut buffer);
        let mut first = true;
        while let Some(entry) = directory.next() {
            let added = entry.map_err(io::Error::from).and_then(|entry| {
                let name = entry.file_name().to_bytes();
                // The inode of what the exported directory lies in is none of the guest's business.
                let ino = if name == b".." && nodeid == super::ROOT {
                    Attributes::of(&handle.file)?.0.stx_ino
                } else {
                    entry.ino()
                };
                add(DirEntry { ino, offset: entry.next_entry_cookie(), type_: kind(&entry), name }, &entry)
            });
            match added {
                Ok(0) => return Ok(()),
                Ok(_) => first = false,
                // What was added before counts, and the guest comes back for the rest. With READDIRPLUS it would not know,
                // else, what it has to forget.
                Err(_) if !first => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What READDIRPLUS says of an entry beside its name: nothing (inode 0) of `.` and `..`, nor of what is gone by now or
    /// can't be looked up.
    pub(super) fn entry_of(&self, nodeid: u64, entry: &RawDirEntry<'_>) -> Entry {
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            return Entry::default();
        }
        let found = self.nodes.directory(nodeid).and_then(|directory| Ok(Arc::new(step(&*directory, name)?)));
        found.and_then(|file| self.entry(nodeid, name, &file)).unwrap_or_default()
    }
}

/// The `DT_` constant.
fn kind(entry: &RawDirEntry<'_>) -> u32 {
    (entry.file_type().as_raw_mode() & libc::S_IFMT) >> 12
}
