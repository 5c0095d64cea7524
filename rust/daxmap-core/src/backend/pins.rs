//! Descriptors kept for a guest whose VMM maps files by itself.
//!
//! The pieces of a mapping that is cut have to be mapped again, when the descriptor that the mapping was made with is
//! long closed. And as long as a descriptor is kept, no other file gets the inode number of the file it is of.

use super::Placement;
use crate::sys::{Errno, FileId, duplicate};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Weak};

type Key = (FileId, bool);

/// A descriptor of a file, kept as long as a mapping shows the file.
#[derive(Debug)]
pub struct Pin {
    fd: OwnedFd,
    key: Key,
}

impl Pin {
    /// The descriptor.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// The file, and whether the descriptor was taken for a writable one.
    #[must_use]
    pub fn key(&self) -> (FileId, bool) {
        self.key
    }
}

impl AsFd for Pin {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// One [`Pin`] for each file and access that is mapped, shared by its mappings.
#[derive(Debug, Default)]
pub struct Pins(BTreeMap<Key, Weak<Pin>>);

impl Pins {
    /// The pin of a placement's file and access.
    ///
    /// # Errors
    /// What `fcntl(2)` said of duplicating the descriptor: EBADF, EMFILE.
    pub fn pin(&mut self, placement: &Placement) -> Result<Arc<Pin>, Errno> {
        self.pin_with(placement.file, placement.writable, || duplicate(placement.fd))
    }

    /// The pin of a file and access; `open` gives its descriptor, if there is none yet.
    ///
    /// # Errors
    /// What `open` said.
    pub fn pin_with(
        &mut self,
        file: FileId,
        writable: bool,
        open: impl FnOnce() -> Result<OwnedFd, Errno>,
    ) -> Result<Arc<Pin>, Errno> {
        let key = (file, writable);
        if let Some(pin) = self.0.get(&key).and_then(Weak::upgrade) {
            return Ok(pin);
        }
        let pin = Arc::new(Pin { fd: open()?, key });
        self.0.insert(key, Arc::downgrade(&pin));
        Ok(pin)
    }

    /// Has the next placements of `file` make pins of their own: it may be another file underneath by now.
    pub fn renew(&mut self, file: FileId) {
        self.0.remove(&(file, false));
        self.0.remove(&(file, true));
    }

    /// Closes a pin that no mapping needs any more.
    pub fn unpin(&mut self, pin: Pin) {
        let key = pin.key;
        drop(pin);
        if self.0.get(&key).is_some_and(|newest| newest.strong_count() == 0) {
            self.0.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::{FileOffset, Span, WindowOffset};

    #[test]
    fn a_renewed_pin_is_shared_whatever_becomes_of_the_old_one() {
        let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
        let id = FileId { dev: 1, ino: 2 };
        let span = Span::new(WindowOffset(0), 1).unwrap();
        let placement = Placement {
            span,
            fd: file.as_raw_fd(),
            file: id,
            file_offset: FileOffset(0),
            writable: false,
            prefault: false,
        };
        let mut pins = Pins::default();
        let old = pins.pin(&placement).unwrap();
        assert!(Arc::ptr_eq(&old, &pins.pin(&placement).unwrap()));
        assert!(!Arc::ptr_eq(&old, &pins.pin(&Placement { writable: true, ..placement }).unwrap()));
        pins.renew(id);
        let new = pins.pin(&placement).unwrap();
        assert!(!Arc::ptr_eq(&old, &new));
        pins.unpin(Arc::into_inner(old).unwrap());
        assert!(Arc::ptr_eq(&new, &pins.pin(&placement).unwrap()));
        pins.unpin(Arc::into_inner(new).unwrap());
        assert!(pins.0.is_empty(), "nothing is kept");
    }
}
