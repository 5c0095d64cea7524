//! Taking all mappings away: reset, drain, and the window that is out of control.

use super::{Mapper, Open};
use crate::backend::Change;
use crate::book::Mapping;
use crate::error::{Error, Result};
use crate::records::{LOG_TARGET, report};
use crate::stats::Departure;
use crate::sync::atomic::Ordering;

impl Mapper {
    /// Removes every mapping; the mapper stays usable. For `FUSE_DESTROY`, a device's reset, a guest's reboot. What the
    /// guest will not give up stays live, and is logged.
    ///
    /// # Errors
    /// ENODEV (closed), EPERM (forked child).
    ///
    /// # Examples
    /// ```
    /// # mod doc { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/mapper.rs")); }
    /// # use {daxmap_core::*, doc::*};
    /// # let (mapper, file) = (mapper()?, file()?);
    /// # let (page, fd) = (mapper.page_size(), std::os::fd::AsRawFd::as_raw_fd(&file));
    /// mapper.setup(fd, &request(0, page), Overlap::Refuse)?;
    /// mapper.reset()?;
    /// mapper.setup(fd, &request(0, page), Overlap::Refuse)?; // the guest has booted again
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reset(&self) -> Result<()> {
        self.attempt("reset", || {
            self.locked(|open| {
                self.sweep(open);
                Ok(())
            })?;
            self.debug(format_args!("reset the window at {}", self.window.base()));
            Ok(())
        })
    }

    /// Removes every mapping, from the guest first, and closes the mapper for good. It must be called while the VM
    /// still exists; afterwards nothing calls the hypervisor any more. What the guest will not give up keeps its host
    /// memory for the life of the process, and is logged and counted. Again, on a closed mapper, it does nothing.
    ///
    /// # Errors
    /// EPERM (forked child), EDEADLK (in a callback of this mapper), EINTR (told to wait no longer).
    ///
    /// # Examples
    /// ```
    /// # mod doc { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/mapper.rs")); }
    /// # use {daxmap_core::*, doc::*};
    /// # let (mapper, file) = (mapper()?, file()?);
    /// # let (page, fd) = (mapper.page_size(), std::os::fd::AsRawFd::as_raw_fd(&file));
    /// mapper.drain_all()?;
    /// let refused = mapper.setup(fd, &request(0, page), Overlap::Refuse).unwrap_err();
    /// assert!(matches!(refused, Error::Closed));
    /// mapper.drain_all()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn drain_all(&self) -> Result<()> {
        match self.gate() {
            Err(Error::Closed) => return Ok(()),
            gate => gate?,
        }
        let notes = self.under_lock(|state| self.close(state))?;
        report(&self.label, &notes);
        self.debug(format_args!("drained the window at {}", self.window.base()));
        Ok(())
    }

    /// What a drop does: drains, with a warning, unless that was done or the process is a forked child.
    pub fn abandon(&self) {
        if self.gate().is_err() {
            return;
        }
        let (base, live) = (self.window.base(), self.live_mappings());
        log::warn!(
            target: LOG_TARGET,
            "{}mapper at {base} dropped without drain_all(), with {live} live mappings",
            self.label
        );
        // Fails in a forked child, in a callback, and when told not to wait for another thread. This is no child, and in
        // the other two somebody still uses the mapper, so it is not dropped.
        let _ = self.drain_all();
    }

    /// Sweeps and closes, under the lock. Returns what to log after it.
    pub(super) fn close(&self, state: &mut Option<Open>) -> Vec<String> {
        let Some(mut open) = state.take() else { return Vec::new() };
        if open.book.len() == 0 && open.backend.changes_at_once() {
            // Only to merge the window's holes, which the VMM may keep for long. They stay holes if it fails.
            let nothing = Change { span: self.window.whole(), old: &[], new: None };
            let _ = open.backend.change(&nothing, &mut open.notes);
        }
        self.sweep(&mut open);
        if self.guard.is_child() {
            *state = Some(open); // a callback forked, and this is its child: the rest is the parent's to do
            return Vec::new();
        }
        let unsettled = open.backend.unsettled();
        let Open { book, backend, mut charge, mut notes, .. } = open;
        if unsettled > 0 {
            notes.push(format!(
                "it is unknown what the guest sees in {unsettled} of the window's ranges: the memory is kept"
            ));
        } else if book.len() == 0 {
            charge.set(0);
        }
        let freed = backend.close(charge, &mut notes);
        for Mapping { span, .. } in book.iter() {
            if !freed {
                notes.push(format!("range {span} is leaked: the guest may still reach it"));
            }
            let departure = if freed { Departure::Swept } else { Departure::Leaked };
            self.counters.departed(departure, 1, span.length());
        }
        // Only now: a caller who sees the flag may destroy the VM.
        self.closed.store(true, Ordering::Release);
        notes
    }

    /// Removes every mapping; what the backend refuses stays in the book, and is noted.
    fn sweep(&self, open: &mut Open) {
        if let Err(error) = self.clear(open, self.window.whole(), Departure::Swept) {
            open.notes.push(error.to_string());
        }
    }
}
