//! The window as the mapper's backend.

use super::book::Window;
use super::pieces::Shown;
use daxmap_core::{Errno, FileId, Pin, Pins, Placement, Refusal, Span, Steps, Stepwise, View, access_refusal};
use rustix::fs::{Mode, OFlags};
use std::cell::Cell;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::Arc;

thread_local! {
    /// The inode of the request that this thread is answering: what is mapped meanwhile is its file.
    static INODE: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Makes `call`, which answers a request about an inode of the guest's.
pub(crate) fn for_inode<T>(inode: u64, call: impl FnOnce() -> T) -> T {
    INODE.set(Some(inode));
    let result = call();
    INODE.set(None);
    result
}

/// This process's descriptors, to open them anew: kept, so that it works in any confinement.
pub(crate) fn reopener() -> io::Result<OwnedFd> {
    Ok(rustix::fs::open("/proc/self/fd", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// The steps of a front end's window: calls over the channel, and copies of what the ends of files cut.
#[derive(Debug)]
pub struct WindowSteps {
    window: Arc<Window>,
    descriptors: OwnedFd,
    pins: Pins,
}

/// The backend of a front end's window.
pub type WindowBackend = Stepwise<WindowSteps>;

impl WindowSteps {
    pub(crate) fn new(window: Arc<Window>, descriptors: OwnedFd) -> Self {
        Self { window, descriptors, pins: Pins::default() }
    }

    fn open_for_stores(&self, fd: RawFd) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC; // a lease is not waited for
        rustix::fs::openat(&self.descriptors, fd.to_string(), flags, Mode::empty()).map_err(|e| Errno(e.raw_os_error()))
    }

    /// The file of a placement, open for writing if the front end wants that and the file lets it be.
    fn pin(&mut self, placement: &Placement) -> Result<Arc<Pin>, Errno> {
        if let Some(errno) = access_refusal(placement.fd, placement.writable) {
            return Err(errno);
        }
        if self.window.abilities().is_ok_and(|abilities| !abilities.read_only) {
            let mut pins = std::mem::take(&mut self.pins);
            let pin = pins.pin_with(placement.file, true, || self.open_for_stores(placement.fd));
            self.pins = pins;
            if let Ok(pin) = pin {
                return Ok(pin);
            }
        }
        self.pins.pin(placement)
    }
}

impl Steps for WindowSteps {
    type Source = Pin;

    /// None: they are the front end's. How many there may be at once is the mapper's `max_mappings`.
    fn vmas_per_mapping(&self) -> u64 {
        0
    }

    /// The position in a pin is the file offset.
    fn open(&mut self, placement: &Placement) -> Result<(Arc<Pin>, u64), Errno> {
        Ok((self.pin(placement)?, placement.file_offset.0))
    }

    fn map(&mut self, view: &View<Pin>, new: Option<&Placement>) -> Result<(), Refusal> {
        let shown = Shown {
            span: view.span,
            source: Arc::clone(&view.source),
            file_offset: view.position,
            writable: view.writable,
            pieces: Vec::new(),
        };
        self.window.show(shown, new.and(INODE.get()))
    }

    fn unmap(&mut self, span: Span) -> Result<(), Refusal> {
        self.window.hide(span)
    }

    fn protect(&mut self, view: &mut View<Pin>, placement: &Placement) -> Option<Result<(), Refusal>> {
        if placement.writable && view.source.key().1 {
            if let Some(errno) = access_refusal(placement.fd, true) {
                return Some(Err(errno.into()));
            }
            if self.window.allow_stores(view.span).is_some() {
                return Some(Ok(()));
            }
        }
        let pin = match self.pin(placement) {
            Ok(pin) => pin,
            Err(errno) => return Some(Err(errno.into())),
        };
        let shown = self.window.show_again(view.span, &pin, placement.writable);
        let done = matches!(shown, Some(Ok(())));
        let unneeded = if done { std::mem::replace(&mut view.source, pin) } else { pin };
        if let Some(unneeded) = Arc::into_inner(unneeded) {
            self.pins.unpin(unneeded);
        }
        shown
    }

    /// Never called: no step of this guest fails in doubt while it changes an access.
    fn unprotect(&mut self, _view: &View<Pin>) -> Result<(), Refusal> {
        Err(Errno(libc::EIO).into())
    }

    fn renew(&mut self, file: FileId) {
        self.pins.renew(file);
    }

    fn close(&mut self, source: Pin) -> Result<(), Errno> {
        self.pins.unpin(source);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::{Abilities, Channel};
    use daxmap_core::{FileOffset, WindowOffset};
    use rustix::io::{FdFlags, fcntl_getfd};
    use std::fs::File;
    use std::os::fd::{AsFd, AsRawFd};

    fn is_ours_alone(fd: impl AsFd) -> bool {
        fcntl_getfd(fd).unwrap().contains(FdFlags::CLOEXEC)
    }

    #[test]
    fn a_file_is_opened_once_until_it_is_renewed_and_nothing_is_kept_of_it() {
        let channel = Channel::default();
        let takes =
            |read_only| channel.found(Ok(Abilities { past_end: false, replaces: false, read_only, slots: None }));
        takes(false);
        let descriptors = reopener().unwrap();
        assert!(is_ours_alone(&descriptors));
        let mut steps = WindowSteps::new(Arc::new(Window::new(channel.clone(), 4096).unwrap()), descriptors);
        let file = File::from(rustix::fs::memfd_create("file", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
        let placement = Placement {
            span: Span::new(WindowOffset(0), 4096).unwrap(),
            fd: file.as_raw_fd(),
            file: FileId { dev: 1, ino: 2 },
            file_offset: FileOffset(8192),
            writable: false,
            prefault: false,
        };
        let (first, position) = steps.open(&placement).unwrap();
        assert!(first.key().1 && position == 8192 && is_ours_alone(&*first));
        assert!(Arc::ptr_eq(&first, &steps.open(&placement).unwrap().0));
        steps.renew(placement.file);
        let (second, _) = steps.open(&placement).unwrap();
        assert!(!Arc::ptr_eq(&first, &second));
        takes(true);
        let (reader, _) = steps.open(&placement).unwrap();
        assert!(!reader.key().1, "no more than is asked for");
        drop(first);
        for source in [second, reader] {
            steps.close(Arc::into_inner(source).unwrap()).unwrap();
        }
        assert_eq!(format!("{:?}", steps.pins), format!("{:?}", Pins::default()));
    }
}
