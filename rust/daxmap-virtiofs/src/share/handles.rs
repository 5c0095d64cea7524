//! The files and directories that a guest has open.

use rustix::fd::OwnedFd;
use rustix::fs::{OFlags, fcntl_getfl};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An open file or directory.
#[derive(Debug)]
pub(crate) struct Handle {
    nodeid: u64,
    pub(crate) file: OwnedFd,
    pub(crate) writable: bool,
    /// Held where the file's position matters: a directory is read from where the last reading ended.
    pub(crate) position: Mutex<()>,
}

impl Handle {
    pub(crate) fn new(nodeid: u64, file: OwnedFd, writable: bool) -> Self {
        Self { nodeid, file, writable, position: Mutex::new(()) }
    }
}

/// Open files by their number, `fh`, which no other has ever had.
#[derive(Debug)]
pub(crate) struct Handles {
    most: usize,
    /// And the last number given.
    open: Mutex<(HashMap<u64, Arc<Handle>>, u64)>,
}

impl Handles {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, open: Mutex::new((HashMap::new(), 0)) }
    }

    fn open(&self) -> MutexGuard<'_, (HashMap<u64, Arc<Handle>>, u64)> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one more can be opened: ENFILE if not.
    pub(crate) fn check_room(&self) -> io::Result<()> {
        if self.open().0.len() < self.most { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ENFILE)) }
    }

    /// Keeps an open file, and gives its number; or ENFILE, where others were faster.
    pub(crate) fn put(&self, handle: Handle) -> io::Result<u64> {
        let mut open = self.open();
        if open.0.len() >= self.most {
            return Err(io::Error::from_raw_os_error(libc::ENFILE));
        }
        open.1 = open.1.wrapping_add(1);
        let fh = open.1;
        open.0.insert(fh, Arc::new(handle));
        Ok(fh)
    }

    /// The open file `fh` of an inode: EBADF where that is none.
    pub(crate) fn get(&self, nodeid: u64, fh: u64) -> io::Result<Arc<Handle>> {
        let found = self.open().0.get(&fh).filter(|handle| handle.nodeid == nodeid).map(Arc::clone);
        found.ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))
    }

    /// An open file of an inode that can be mapped, to be written too if so wanted.
    pub(crate) fn one_of(&self, nodeid: u64, writable: bool) -> Option<Arc<Handle>> {
        let open = self.open();
        let mut of_inode = open.0.values().filter(|handle| handle.nodeid == nodeid);
        let fits = |mode| if writable { mode == OFlags::RDWR } else { mode != OFlags::WRONLY };
        of_inode
            .find(|handle| fcntl_getfl(&handle.file).is_ok_and(|flags| fits(flags & OFlags::ACCMODE)))
            .map(Arc::clone)
    }

    pub(crate) fn close(&self, nodeid: u64, fh: u64) -> io::Result<()> {
        self.get(nodeid, fh)?;
        let closed = self.open().0.remove(&fh);
        drop(closed); // with no lock held: closing may take long
        Ok(())
    }

    pub(crate) fn clear(&self) {
        let all = std::mem::take(&mut self.open().0);
        drop(all);
    }
}
