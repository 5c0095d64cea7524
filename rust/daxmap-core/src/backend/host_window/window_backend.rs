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
