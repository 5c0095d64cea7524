//! The mapper: decides what a request may do, has the backend do it, and keeps the book of it.

mod access;
mod change;
mod explain;
mod loan;
mod lock;
mod refresh;
mod remove;
mod setup;
mod survey;
mod sweep;

pub use loan::{Loan, Piece};
pub use remove::BatchResult;
pub use setup::{MapRequest, Overlap};
pub use survey::Surveyed;

use crate::addr::{GuestAddress, Span};
use crate::backend::Backend;
use crate::book::Book;
use crate::budget::Charge;
use crate::error::{Error, Result};
use crate::open_error::OpenError;
use crate::records::{LOG_TARGET, Warnings, printable, report};
use crate::refusal::Refusal;
use crate::stats::{Counters, Stats};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sys::ForkGuard;
use crate::window::Window;
use loan::Lent;
use lock::Lock;
use std::fmt;
use std::sync::Arc;

/// What a mapper may do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Refuses writable mappings with EROFS.
    pub readonly: bool,
    /// Live mappings allowed at once, in place of this mapper's part in [`Budget::of_process`](crate::Budget::of_process).
    pub max_mappings: Option<u64>,
    /// Brings the pages of read-only mappings in when they are set up, where the backend can.
    pub prefault: bool,
    /// Asked now and then by a call that waits for another thread's call of this mapper to end: whether to wait no
    /// longer. The call has done nothing then, and fails with EINTR. It is asked with no lock of this mapper held.
    pub stop_waiting: Option<fn() -> bool>,
}

/// The mappings of one share's DAX window. All methods may be called from many threads.
///
/// # Examples
/// ```
/// # #[cfg(target_os = "linux")] {
/// # use daxmap_core::{GuestAddress, HostWindowBackend, Mapper, Options, Overlap, WindowOffset};
/// use std::os::fd::AsRawFd;
///
/// let file = std::fs::File::open(std::env::current_exe()?)?;
/// let window = HostWindowBackend::new()?;
/// let options = Options { readonly: true, ..Options::default() };
/// let mapper = Mapper::new(GuestAddress(4 << 30), 1 << 30, options, |w| window.attach(w))?.named("root".to_owned());
/// let length = mapper.map_file(file.as_raw_fd(), WindowOffset(0), false, Overlap::Refuse)?;
/// assert_eq!(mapper.stats().live_bytes, length);
/// mapper.drain_all()?; // before the VM is destroyed
/// window.release()?; // when no memory slot points at the window any more
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Mapper {
    window: Window,
    options: Options,
    /// Of the share; may be empty.
    name: String,
    /// What log records and errors begin with, so that two shares' can be told apart: the name and a colon, or nothing.
    label: String,
    host_address: Option<usize>,
    counters: Counters,
    guard: ForkGuard,
    warnings: Warnings,
    lent: Arc<Lent>,
    /// Set when a drain is over, so that a call which sees it needs no lock.
    closed: AtomicBool,
    /// `None` once drained. The one lock: held over check, backend call and book-keeping.
    open: Lock<Option<Open>>,
}

/// What a mapper has until it is drained.
#[derive(Debug)]
struct Open {
    book: Book,
    backend: Box<dyn Backend>,
    /// For the window, what is in the book, and what the backend has not settled.
    charge: Charge,
    vmas_per_mapping: u64,
    /// What to log once the lock is dropped.
    notes: Vec<String>,
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
            return Err(OpenError::Invalid(
                "max_mappings is 0: give 1 or more, or None for the budget of the process".to_owned(),
            ));
        }
        let guard = ForkGuard::new().map_err(OpenError::no_fork_guard)?;
        #[cfg(target_os = "linux")]
        let _ = crate::sys::keep_proc_self(); // what needs it says that it is not there
        let backend = attach(&window)?;
        let host_address = backend.host_address();
        let mut open = Open {
            vmas_per_mapping: backend.vmas_per_mapping(),
            book: Book::default(),
            backend,
            charge: Charge::of_process(),
            notes: Vec::new(),
        };
        open.recharge();
        Ok(Self {
            window,
            options,
            name: String::new(),
            label: String::new(),
            host_address,
            counters: Counters::new(),
            guard,
            warnings: Warnings::new(),
            lent: Arc::default(),
            closed: AtomicBool::new(false),
            open: Lock::new(Some(open)),
        })
    }

    /// The same mapper, with a name for the log: that of its share.
    #[must_use]
    pub fn named(mut self, name: String) -> Self {
        self.label = if name.is_empty() { String::new() } else { format!("{}: ", printable(&name)) };
        self.name = name;
        self
    }

    /// Its name; empty if it has none.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the text of an error is to begin with, as that of a log record does: the name and a colon, if it has a name.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
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

    /// What it warned of, in its log.
    #[must_use]
    pub fn warnings(&self) -> &Warnings {
        &self.warnings
    }

    /// Whether calls may go on to the lock: not on a closed mapper, nor in a forked child.
    fn gate(&self) -> Result<()> {
        if self.is_closed() { Err(Error::Closed) } else { self.not_in_child() }
    }

    /// EPERM in a forked child. Also of a call that is under way there, since a callback has forked: what is left of it is
    /// the parent's to do, and who had another lock then is not here to let it go.
    fn not_in_child(&self) -> Result<()> {
        if self.guard.is_child() { Err(Error::Forked) } else { Ok(()) }
    }

    /// Makes `call` if the gate is open, and counts and logs why it failed.
    fn attempt<T>(&self, name: &str, call: impl FnOnce() -> Result<T>) -> Result<T> {
        let result = self.gate().and_then(|()| call());
        if let Err(error) = &result {
            self.count_failure(name, error);
        }
        result
    }

    fn count_failure(&self, name: &str, error: &Error) {
        if self.guard.is_child() {
            return; // counters, log and their locks are the parent's
        }
        self.counters.failed(error.errno());
        // A callback has the lock while it calls its own mapper, and no record is written under the lock.
        if !matches!(error, Error::Reentered) {
            self.warnings.warn(format_args!("{}{name}: {error}", self.label));
        }
    }

    /// Makes `call` under the lock. If a callback forked meanwhile, the child leaves everything as it is then.
    fn under_lock<T>(&self, call: impl FnOnce(&mut Option<Open>) -> T) -> Result<T> {
        let mut state = self.open.acquire(self.options.stop_waiting)?;
        let result = call(&mut state);
        if self.guard.is_child() {
            std::mem::forget(state);
            return Err(Error::Forked);
        }
        Ok(result)
    }

    /// Makes `call` under the lock, then logs what it noted.
    fn locked<T>(&self, call: impl FnOnce(&mut Open) -> Result<T>) -> Result<T> {
        let (mut notes, mut out_of_control) = (Vec::new(), false);
        let result = self.under_lock(|state| {
            let Some(open) = state.as_mut() else { return Err(Error::Closed) };
            let result = call(open);
            out_of_control = open.backend.is_out_of_control();
            if out_of_control || !open.notes.is_empty() {
                notes = std::mem::take(&mut open.notes);
            }
            if out_of_control {
                notes.extend(self.close(state));
            }
            result
        })?;
        match notes.as_slice() {
            [] => {}
            notes if out_of_control => report(&self.label, notes),
            notes => self.warn_of(notes),
        }
        result
    }

    /// Logs a success.
    fn debug(&self, text: fmt::Arguments<'_>) {
        log::debug!(target: LOG_TARGET, "{}{text}", self.label);
    }

    fn warn_of(&self, notes: &[String]) {
        for note in notes {
            self.warnings.warn(format_args!("{}{note}", self.label));
        }
    }
}

impl Open {
    /// What the mappings limit and the budget count: what is in the book, and what the backend has not settled.
    fn entries(&self) -> u64 {
        (self.book.len() as u64).saturating_add(self.backend.unsettled())
    }

    /// Finds out about what is unknown in `span`, and gives back what was charged for it.
    fn settle(&mut self, span: Span) -> std::result::Result<(), Refusal> {
        if self.backend.unsettled() == 0 {
            return Ok(());
        }
        let settled = self.backend.settle(span, &mut self.notes);
        self.recharge();
        settled
    }

    /// Charges the budget for what there is now.
    fn recharge(&mut self) {
        let mappings = self.entries().saturating_mul(self.vmas_per_mapping);
        self.charge.set(self.backend.vmas_of_window().saturating_add(mappings));
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
