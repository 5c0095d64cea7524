//! The guest of a VMM that maps files by itself, from descriptors.

use super::guest::{Guest, Origin};
use daxmap_core::{Errno, FileId, Pin, Pins, Placement, Refusal, Span, Steps, View, access_refusal};
use std::os::fd::RawFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct OwnSteps {
    guest: Guest,
    can_protect: bool,
    pins: Pins,
}

impl OwnSteps {
    pub(crate) fn new(guest: Guest, can_protect: bool) -> Self {
        Self { guest, can_protect, pins: Pins::default() }
    }
}

fn range(span: Span) -> (u64, u64) {
    (span.start().0, span.end().0)
}

fn file(fd: RawFd) -> FileId {
    let status = std::fs::metadata(format!("/proc/self/fd/{fd}")).unwrap();
    FileId { dev: status.dev(), ino: status.ino() }
}

impl Steps for OwnSteps {
    type Source = Pin;

    fn open(&mut self, placement: &Placement) -> Result<(Arc<Pin>, u64), Errno> {
        if let Some(errno) = access_refusal(placement.fd, placement.writable) {
            return Err(errno);
        }
        Ok((self.pins.pin(placement)?, placement.file_offset.0))
    }

    fn map(&mut self, view: &View<Pin>, new: Option<&Placement>) -> Result<(), Refusal> {
        let file = file(new.map_or_else(|| view.source.fd(), |new| new.fd));
        assert!(new.is_none_or(|new| (new.file, new.file_offset.0) == (file, view.position)));
        self.guest.map(range(view.span), view.writable, |skipped| Origin::File(file, view.position + skipped))
    }

    fn unmap(&mut self, span: Span) -> Result<(), Refusal> {
        self.guest.unmap(range(span))
    }

    fn protect(&mut self, view: &mut View<Pin>, placement: &Placement) -> Option<Result<(), Refusal>> {
        if !self.can_protect {
            return None;
        }
        let pin = match self.open(placement) {
            Ok((pin, _)) => pin,
            Err(errno) => return Some(Err(errno.into())),
        };
        let changed = self.guest.protect(range(view.span), placement.writable);
        let unused = if changed.is_ok() { std::mem::replace(&mut view.source, pin) } else { pin };
        if let Some(pin) = Arc::into_inner(unused) {
            self.pins.unpin(pin);
        }
        Some(changed)
    }

    fn unprotect(&mut self, view: &View<Pin>) -> Result<(), Refusal> {
        self.guest.protect(range(view.span), view.writable)
    }

    fn renew(&mut self, file: FileId) {
        self.pins.renew(file);
    }

    fn close(&mut self, source: Pin) -> Result<(), Errno> {
        self.pins.unpin(source);
        Ok(())
    }
}
