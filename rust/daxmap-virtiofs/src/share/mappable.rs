//! Files as the mapper wants them: by descriptor, and mapped anew where they became others.

use super::nodes::PathFd;
use super::paths::Attributes;
use super::{Share, errno};
use crate::recent::Recent;
use rustix::fd::{AsRawFd, OwnedFd, RawFd};
use rustix::fs::OFlags;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The sizes with which files were mapped, by nodeid.
#[derive(Debug, Default)]
pub(super) struct Sizes(Mutex<HashMap<u64, u64>>);

impl Share {
    /// The descriptor to map a file by: that of the handle, if the guest names one, else one that is kept for the inode.
    ///
    /// # Errors
    /// EROFS to write on a read-only share, EBADF for an unknown inode or handle, ENODEV for what is no regular file, else what open(2) says.
    pub(crate) fn mappable(&self, nodeid: u64, fh: Option<u64>, writable: bool) -> io::Result<OwnedOrKept> {
        if writable {
            self.check_writable()?; // the mapper may allow more than the share
        }
        if let Some(fh) = fh {
            return Ok(OwnedOrKept::Handle(self.handles.get(nodeid, fh)?));
        }
        if let Some(kept) = self.mapped().get((nodeid, writable)) {
            return Ok(OwnedOrKept::Kept(kept));
        }
        let (path, kind) = self.nodes.found(nodeid)?;
        if kind != libc::S_IFREG {
            return Err(errno(libc::ENODEV));
        }
        let file = if writable {
            self.open_for_writing(nodeid, &path, OFlags::RDWR)?
        } else {
            self.open_for_reading(&path, OFlags::RDONLY)?
        };
        if self.options.refresh_on_growth {
            let size = Attributes::of(&file)?.size();
            self.sizes.0.lock().unwrap_or_else(PoisonError::into_inner).entry(nodeid).or_insert(size);
        }
        let file = Arc::new(file);
        self.mapped().put((nodeid, writable), Arc::clone(&file));
        Ok(OwnedOrKept::Kept(file))
    }

    fn mapped(&self) -> MutexGuard<'_, Recent<(u64, bool), Arc<OwnedFd>>> {
        self.mapped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the descriptors of an inode that the guest has forgotten.
    pub(super) fn forget_mapped_of(&self, nodeid: u64) {
        let mut mapped = self.mapped();
        mapped.remove(&(nodeid, false));
        mapped.remove(&(nodeid, true));
        self.sizes.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&nodeid);
    }

    pub(super) fn forget_mapped(&self) {
        self.mapped().clear();
        self.sizes.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// On overlayfs the first open for writing copies a file up: what was opened before shows the lower file for ever, and
    /// so do its mappings, until they are made anew.
    ///
    /// Changes of its attributes copy it up as well; it is another file from then on, with the same inode number.
    pub(super) fn changed(&self, nodeid: u64, path: &PathFd) {
        if self.on_overlayfs
            && let Ok(attributes) = Attributes::of(path)
            && (self.nodes.identify(nodeid, &attributes) || !attributes.has_birth())
        {
            self.mapped().remove(&(nodeid, false));
            self.map_anew(path.as_raw_fd());
        }
    }

    /// Notes the size that a guest is told of. If the file was smaller when it was mapped, and its mappings end there, they
    /// are made anew: the guest goes on to read what it has been told of through them.
    pub(super) fn told_size(&self, nodeid: u64, attributes: &Attributes, file: RawFd) {
        if !self.options.refresh_on_growth {
            return;
        }
        let mut sizes = self.sizes.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(size) = sizes.get_mut(&nodeid) else { return };
        let before = std::mem::replace(size, attributes.size());
        drop(sizes);
        if before != attributes.size() {
            self.map_anew(file);
        }
    }

    fn map_anew(&self, file: RawFd) {
        let Some(mapper) = &self.mapper else { return };
        // To open a file for writing may change it: overlayfs copies it.
        let writable = self.check_writable().and_then(|()| self.proc.reopen(file, OFlags::RDWR));
        let opened = writable.or_else(|_| self.proc.reopen(file, OFlags::RDONLY));
        if let Ok(opened) = opened {
            let _ = mapper.refresh(opened.as_raw_fd()); // the mapper has logged why not
        }
    }
}

/// A descriptor that stays open as long as this is there.
#[derive(Debug)]
pub(crate) enum OwnedOrKept {
    Kept(Arc<OwnedFd>),
    Handle(Arc<super::handles::Handle>),
}

impl AsRawFd for OwnedOrKept {
    fn as_raw_fd(&self) -> i32 {
        match self {
            Self::Kept(file) => file.as_raw_fd(),
            Self::Handle(handle) => handle.file.as_raw_fd(),
        }
    }
}
