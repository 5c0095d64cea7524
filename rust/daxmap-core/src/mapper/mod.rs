//! The mapper: decides what a request may do, has the backend do it, and keeps the book of it.

mod access;
mod lock;
mod remove;
mod setup;
mod sweep;

pub use remove::BatchResult;

use crate::addr::{GuestAddress, Span, WindowOffset};
use crate::backend::{Backend, Failure};
use crate::budget::Budget;
use crate::error::{Error, OpenError, Result};
use crate::limit::Warnings;
use crate::stats::{Counters, Departure, Stats};
use crate::sys::ForkGuard;
use crate::table::{Mapping, Table};
use crate::window::Window;
use lock::Lock;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a mapper may do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Refuses writable mappings with EROFS.
    pub readonly: bool,
    /// Live mappings allowed at once, in place of this mapper's part in [`Budget::of_process`].
    pub max_mappings: Option<u64>,
    /// Brings the pages of read-only mappings in when they are set up, where the backend can.
    pub prefault: bool,
}

/// The mappings of one share's DAX window. All methods may be called from many threads.
pub struct Mapper {
    window: Window,
    options: Options,
    host_address: Option<usize>,
    counters: Counters,
    budget: &'static Budget,
    vmas_of_window: u64,
    vmas_per_mapping: u64,
    guard: ForkGuard,
    warnings: Warnings,
    /// Set when a drain is over, so that whoever sees it needs no lock.
    closed: AtomicBool,
    /// `None` once drained. The one lock: held over check, backend call and book-keeping.
    open: Lock<Option<Open>>,
}

/// What a mapper has until it is drained.
#[derive(Debug)]
struct Open {
    table: Table,
    backend: Box<dyn Backend>,
    /// What to log once the lock is dropped.
    notes: Vec<String>,
    /// The backend lost control of a part of the window: close as soon as the call is over.
    gave_up: bool,
}

impl Mapper {
    /// A mapper for the window `[base, base + size)`, both in bytes and multiples of the host's page size. `attach`
    /// makes the backend for it.
    ///
    /// # Errors
    /// [`OpenError::Invalid`] for values that no host would take, [`OpenError::Refused`] where the host refuses.
    pub fn new(
        base: GuestAddress,
        size: u64,
        options: Options,
        attach: impl FnOnce(&Window) -> std::result::Result<Box<dyn Backend>, OpenError>,
    ) -> std::result::Result<Self, OpenError> {
        let window = Window::new(base, size)?;
        if options.max_mappings == Some(0) {
            return Err(OpenError::Invalid("max_mappings is 0".to_owned()));
        }
        let guard = ForkGuard::new()?;
        #[cfg(target_os = "linux")]
        crate::sys::keep_proc_self();
        let backend = attach(&window)?;
        let budget = Budget::of_process();
        let vmas_of_window = backend.vmas_of_window();
        budget.charge_regardless(vmas_of_window);
        let host_address = backend.host_address();
        let vmas_per_mapping = backend.vmas_per_mapping();
        let open = Open { table: Table::default(), backend, notes: Vec::new(), gave_up: false };
        Ok(Self {
            window,
            options,
            host_address,
            counters: Counters::new(),
            budget,
            vmas_of_window,
            vmas_per_mapping,
            guard,
            warnings: Warnings::new(),
            closed: AtomicBool::new(false),
            open: Lock::new(Some(open)),
        })
    }

    /// The window.
    #[must_use]
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// The host's page size in bytes: the unit of every offset and length.
    #[must_use]
    pub fn page_size(&self) -> u64 {
        self.window.page_size()
    }

    /// Whether writable mappings are refused.
    #[must_use]
    pub fn readonly(&self) -> bool {
        self.options.readonly
    }

    /// Where the window lies in this process, if it is one range of host addresses.
    #[must_use]
    pub fn host_address(&self) -> Option<usize> {
        self.host_address
    }

    /// Whether the mapper was drained.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Whether this process is a fork of the one that made the mapper.
    #[must_use]
    pub fn in_forked_child(&self) -> bool {
        self.guard.is_child()
    }

    /// The counters, read without a lock.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.counters.snapshot()
    }

    /// The number of live mappings, read without a lock.
    #[must_use]
    pub fn live_mappings(&self) -> u64 {
        self.counters.live_mappings()
    }

    /// Counts and logs what `call` answers. It is not made at all on a closed mapper or in a forked child.
    fn answer<T>(&self, name: &str, call: impl FnOnce() -> Result<T>) -> Result<T> {
        if self.guard.is_child() {
            // Neither counted nor logged: counters, log and their locks are the parent's.
            return Err(if self.is_closed() { Error::Closed } else { Error::Forked });
        }
        let answer = if self.is_closed() { Err(Error::Closed) } else { call() };
        if let Err(error) = &answer {
            self.count_failure(name, error);
        }
        answer
    }

    fn count_failure(&self, name: &str, error: &Error) {
        self.counters.failed(error.errno());
        self.warnings.warn(format_args!("{name}: {error}"));
    }

    fn lock(&self) -> Result<lock::Guard<'_, Option<Open>>> {
        self.open.acquire().ok_or(Error::Reentered)
    }

    /// Makes `call` under the lock, then logs what it noted.
    fn locked<T>(&self, call: impl FnOnce(&mut Open) -> Result<T>) -> Result<T> {
        let mut state = self.lock()?;
        let Some(open) = state.as_mut() else { return Err(Error::Closed) };
        let answer = call(open);
        if open.notes.is_empty() && !open.gave_up {
            return answer;
        }
        let mut notes = std::mem::take(&mut open.notes);
        if open.gave_up {
            notes.extend(self.close(&mut state));
        }
        drop(state);
        if !notes.is_empty() {
            self.emit(notes);
        }
        answer
    }

    fn emit(&self, notes: Vec<String>) {
        for note in notes {
            self.warnings.warn(format_args!("{note}"));
        }
    }

    /// Strikes a mapping from the book.
    fn strike(&self, open: &mut Open, mapping: &Mapping, how: Departure) {
        open.table.remove(mapping.span.start());
        self.departed(mapping, how);
    }

    /// Counts a mapping that has left the book.
    fn departed(&self, mapping: &Mapping, how: Departure) {
        self.counters.departed(how, 1, mapping.span.length());
        if !matches!(how, Departure::Leaked) {
            self.budget.give_back(self.vmas_per_mapping);
        }
    }

    /// Has the mapping that starts at `offset`, if `check` lets it, unmapped and struck as `how`. An error says what
    /// became of it instead.
    fn unmap(
        &self,
        open: &mut Open,
        offset: WindowOffset,
        how: Departure,
        check: impl FnOnce(&Mapping) -> Result<()>,
    ) -> Result<()> {
        let entry = open.table.entry(offset).ok_or(Error::NoMapping { offset })?;
        let mapping = *entry.get();
        check(&mapping)?;
        let span = mapping.span;
        match open.backend.unmap(span, std::slice::from_ref(&mapping)) {
            Ok(()) => {}
            Err(Failure::Emptied(cause)) => {
                open.notes.push(format!("range {span} was unmapped with difficulty: {cause}"));
            }
            Err(Failure::Refused(cause)) => return Err(Error::UnmapRefused { span, cause }),
            Err(Failure::GaveUp(cause)) => {
                open.gave_up = true;
                entry.remove();
                self.departed(&mapping, Departure::Lost);
                return Err(Error::GaveUp { span, cause });
            }
        }
        entry.remove();
        self.departed(&mapping, how);
        Ok(())
    }
}

impl Open {
    /// Has many mappings unmapped in one call, if the backend can. Where not, each has to be tried on its own.
    fn unmap_many(&mut self, span: Span, mappings: &[Mapping]) -> bool {
        if !self.backend.unmaps_many() {
            return false;
        }
        match self.backend.unmap(span, mappings) {
            Ok(()) => true,
            Err(Failure::Emptied(cause)) => {
                self.notes.push(format!("range {span} was unmapped with difficulty: {cause}"));
                true
            }
            Err(Failure::Refused(_)) => false,
            Err(Failure::GaveUp(cause)) => {
                self.notes.push(Error::GaveUp { span, cause }.to_string());
                self.gave_up = true;
                false
            }
        }
    }
}

impl fmt::Debug for Mapper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapper")
            .field("window", &self.window)
            .field("options", &self.options)
            .field("live_mappings", &self.live_mappings())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

impl Drop for Mapper {
    fn drop(&mut self) {
        self.abandon();
        // In a forked child the backend is still there: the parent's window, and its VM. Leave both alone.
        std::mem::forget(self.open.get_mut().take());
    }
}
