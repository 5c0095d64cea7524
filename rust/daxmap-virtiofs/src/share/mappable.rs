//! Files as the mapper wants them: by descriptor, and mapped anew where they became others.

use super::nodes::PathFd;
use super::paths::Attributes;
use super::{Share, errno};
use crate::recent::Recent;
use rustix::fd::{AsRawFd, OwnedFd, RawFd};
use rustix::fs::OFlags;
use std::io;
use std::sync::{Arc, MutexGuard, PoisonError};

impl Share {
    /// The descriptor to map a file by: that of the handle, if the guest names one, else one that is kept for the inode.
    /// Where the server can't open the file any more, but the guest has it open, one of the guest's.
    ///
    /// # Errors
    /// EROFS to write on a read-only share, EBADF for an unknown inode or handle, ENODEV for what is no regular file, else
    /// what open(2) says.
    pub(crate) fn mappable(&self, nodeid: u64, fh: Option<u64>, writable: bool) -> io::Result<Mappable> {
        if writable {
            self.check_writable()?; // the mapper may allow more than the share
        }
        if let Some(fh) = fh {
            return Ok(Mappable::Handle(self.handles.get(nodeid, fh)?));
        }
        if let Some(kept) = self.mapped().get((nodeid, writable)) {
            return Ok(Mappable::Kept(kept));
        }
        let (path, kind) = self.nodes.found(nodeid)?;
        if kind != libc::S_IFREG {
            return Err(errno(libc::ENODEV));
        }
        let opened = if writable {
            self.open_for_writing(nodeid, &path, OFlags::RDWR)
        } else {
            self.open_for_reading(&path, OFlags::RDONLY)
        };
        let file = match opened {
            Ok(file) => Arc::new(file),
            Err(error) => return self.handles.one_of(nodeid, writable).map(Mappable::Handle).ok_or(error),
        };
        self.mapped().put((nodeid, writable), Arc::clone(&file));
        Ok(Mappable::Kept(file))
    }

    fn mapped(&self) -> MutexGuard<'_, Recent<(u64, bool), Arc<OwnedFd>>> {
        self.mapped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the descriptors of an inode that the guest has forgotten.
    pub(super) fn forget_mapped_of(&self, nodeid: u64) {
        let mut mapped = self.mapped();
        mapped.remove(&(nodeid, false));
        mapped.remove(&(nodeid, true));
    }

    pub(super) fn forget_mapped(&self) {
        self.mapped().clear();
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
pub(crate) enum Mappable {
    Kept(Arc<OwnedFd>),
    Handle(Arc<super::handles::Handle>),
}

impl AsRawFd for Mappable {
    fn as_raw_fd(&self) -> i32 {
        match self {
            Self::Kept(file) => file.as_raw_fd(),
            Self::Handle(handle) => handle.file.as_raw_fd(),
        }
    }
}
