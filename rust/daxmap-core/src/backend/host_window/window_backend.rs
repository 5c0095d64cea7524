//! A region at work under a mapper.

use super::region::Region;
use crate::addr::{Span, WindowOffset};
use crate::backend::{Backend, Change, Failure, Hold};
use crate::budget::Charge;
use crate::sys::Errno;
use std::fmt;

/// What becomes of a region when its mapper closes: whether it is freed, with the charge for what it still shows.
type OnClose = dyn FnOnce(Box<Region>, Charge, &mut Vec<String>) -> bool + Send;

/// The backend over a region. What becomes of the region when the mapper closes differs from backend to backend.
pub(in crate::backend) struct WindowBackend {
    region: Box<Region>,
    /// Takes the window from the guest, as far as can be. Called at once when it gets out of control: until then the
    /// guest may reach memory of others.
    cut_off: Box<dyn Fn() + Send>,
    on_close: Box<OnClose>,
}

impl WindowBackend {
    pub(in crate::backend) fn new(
        region: Box<Region>,
        cut_off: impl Fn() + Send + 'static,
        on_close: impl FnOnce(Box<Region>, Charge, &mut Vec<String>) -> bool + Send + 'static,
    ) -> Self {
        Self { region, cut_off: Box::new(cut_off), on_close: Box::new(on_close) }
    }
}

impl fmt::Debug for WindowBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.region.fmt(f)
    }
}

impl Backend for WindowBackend {
    fn host_address(&self) -> Option<usize> {
        Some(self.region.address())
    }

    fn vmas_of_window(&self) -> u64 {
        self.region.holes.vmas()
    }

    /// Its own, and the hole that it splits off.
    fn vmas_per_mapping(&self) -> u64 {
        2
    }

    fn changes_at_once(&self) -> bool {
        true
    }

    fn change(&mut self, change: &Change<'_>, notes: &mut Vec<String>) -> Result<(), Failure> {
        let changed = match change.new {
            Some(placement) => self.region.place(placement, change.old),
            None => match self.region.clear(change.span, change.old) {
                Err(Failure::Lost { cause, .. }) => {
                    notes.push(format!("range {} became a hole at the second try: {cause}", change.span));
                    Ok(())
                }
                cleared => cleared,
            },
        };
        match (&changed, change.new) {
            (Ok(()), Some(placement)) if placement.prefault => self.region.populate(placement.span),
            (Err(Failure::OutOfControl(_)), _) => (self.cut_off)(),
            _ => {}
        }
        changed
    }

    fn is_out_of_control(&self) -> bool {
        self.region.is_out_of_control()
    }

    fn read(&self, offset: WindowOffset, buffer: &mut [u8]) -> Result<(), Errno> {
        self.region.reservation().range().read(offset.0, buffer)
    }

    fn write(&self, offset: WindowOffset, data: &[u8]) -> Result<(), Errno> {
        self.region.reservation().range().write(offset.0, data)
    }

    fn hold(&self, _span: Span) -> Option<Vec<Hold>> {
        Some(vec![self.region.hold()])
    }

    fn close(self: Box<Self>, charge: Charge, notes: &mut Vec<String>) -> bool {
        (self.on_close)(self.region, charge, notes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::{FileOffset, GuestAddress};
    use crate::backend::Placement;
    use crate::book::Mapping;
    use crate::sys::{FileId, page_size};
    use crate::window::Window;
    use std::fs::File;
    use std::os::fd::AsRawFd;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    #[test]
    fn a_window_that_is_not_what_it_should_be_is_cut_off_and_never_freed() {
        let window = Window::new(GuestAddress(0), 2 << 20).unwrap();
        let (cut_off, freed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (cuts, releases) = (Arc::clone(&cut_off), Arc::clone(&freed));
        let on_close = move |region: Box<Region>, charge: Charge, _: &mut _| {
            drop(charge);
            releases.store(region.release().is_ok(), Relaxed);
            false
        };
        let region = Region::reserve(&window).unwrap();
        let mut backend = WindowBackend::new(region, move || cuts.store(true, Relaxed), on_close);
        assert!(backend.changes_at_once() && !backend.is_out_of_control());
        assert_eq!((backend.vmas_of_window(), backend.vmas_per_mapping()), (1, 2));
        let (program, root) = (File::open(std::env::current_exe().unwrap()).unwrap(), File::open("/").unwrap());
        let span = |page: u64| Span::new(WindowOffset(page * page_size()), page_size()).unwrap();
        let mut change = |file: &File, dev: u64, span: Span, old: &[Mapping]| {
            let (fd, file_offset, file) = (file.as_raw_fd(), FileOffset(0), FileId { dev, ino: 2 });
            let new = Placement { span, fd, file, file_offset, writable: false, prefault: false };
            backend.change(&Change { span, old, new: Some(&new) }, &mut Vec::new())
        };
        // Files of these devices can be mapped, so they are not tried elsewhere first. A directory can't.
        for dev in [1, 3] {
            change(&program, dev, span(0), &[]).unwrap();
        }
        assert!(matches!(change(&root, 1, span(1), &[]), Err(Failure::Unchanged(_))), "a hole, as it should be");
        assert!(!cut_off.load(Relaxed));
        let file = FileId { dev: 3, ino: 2 };
        let missing = Mapping { span: span(1), file_offset: FileOffset(0), file, writable: false };
        assert!(matches!(change(&root, 3, span(1), &[missing]), Err(Failure::OutOfControl(_))));
        assert!(cut_off.load(Relaxed));
        assert!(matches!(change(&program, 1, span(1), &[]), Err(Failure::Unchanged(_))), "it is never touched again");
        change(&program, 1, span(2), &[]).unwrap();
        assert!(backend.is_out_of_control() && format!("{backend:?}").contains("out_of_control: [Span"));
        assert!(!Box::new(backend).close(Charge::of_process(), &mut Vec::new()));
        assert!(!freed.load(Relaxed));
    }
}
