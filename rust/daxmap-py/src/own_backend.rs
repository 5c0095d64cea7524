//! A Python object as the whole backend: the VMM maps files by itself.

use crate::callbacks::{Callbacks, Method};
use daxmap_core::{Errno, FileId, Pin, Pins, Placement, Refusal, Span, Steps, View, access_refusal};
use std::fmt;
use std::os::fd::RawFd;
use std::sync::Arc;

/// The steps of a Python object: each is one call of a method.
pub(crate) struct OwnBackend {
    callbacks: Arc<Callbacks>,
    pins: Pins,
}

impl OwnBackend {
    pub(crate) fn new(callbacks: Arc<Callbacks>) -> Self {
        Self { callbacks, pins: Pins::default() }
    }

    fn set_access(&self, fd: RawFd, span: Span, writable: bool) -> Result<(), Refusal> {
        self.callbacks.call(Method::Protect, (fd, span.start().0, span.length(), writable), true)
    }
}

impl fmt::Debug for OwnBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnBackend")
    }
}

impl Steps for OwnBackend {
    type Source = Pin;

    /// Where the VMM maps in this process, it may do so as a host window does.
    fn vmas_per_mapping(&self) -> u64 {
        2
    }

    /// The position in a pin is the file offset. Nothing may be taken from the guest for a descriptor that the VMM can't
    /// map: so its access is checked here.
    fn open(&mut self, placement: &Placement) -> Result<(Arc<Pin>, u64), Errno> {
        if let Some(errno) = access_refusal(placement.fd, placement.writable) {
            return Err(errno);
        }
        Ok((self.pins.pin(placement)?, placement.file_offset.0))
    }

    fn map(&mut self, view: &View<Pin>, new: Option<&Placement>) -> Result<(), Refusal> {
        let fd = new.map_or_else(|| view.source.fd(), |placement| placement.fd);
        let arguments = (fd, view.position, view.span.start().0, view.span.length(), view.writable);
        self.callbacks.call(Method::Map, arguments, true)
    }

    fn unmap(&mut self, span: Span) -> Result<(), Refusal> {
        self.callbacks.call(Method::Unmap, (span.start().0, span.length()), true)
    }

    fn protect(&mut self, view: &mut View<Pin>, placement: &Placement) -> Option<Result<(), Refusal>> {
        if !self.callbacks.can_protect() {
            return None;
        }
        let (pin, _) = match self.open(placement) {
            Ok(opened) => opened,
            Err(errno) => return Some(Err(errno.into())),
        };
        let changed = self.set_access(placement.fd, view.span, placement.writable);
        let unneeded = if changed.is_ok() { std::mem::replace(&mut view.source, pin) } else { pin };
        if let Some(unneeded) = Arc::into_inner(unneeded) {
            self.pins.unpin(unneeded);
        }
        Some(changed)
    }

    fn unprotect(&mut self, view: &View<Pin>) -> Result<(), Refusal> {
        self.set_access(view.source.fd(), view.span, view.writable)
    }

    fn renew(&mut self, file: FileId) {
        self.pins.renew(file);
    }

    fn close(&mut self, source: Pin) -> Result<(), Errno> {
        self.pins.unpin(source);
        Ok(())
    }
}
