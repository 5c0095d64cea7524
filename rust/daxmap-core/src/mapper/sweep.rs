//! Taking all mappings away: reset, drain, and the window that was given up.

use super::{Mapper, Open};
use crate::LOG_TARGET;
use crate::error::{Error, Result};
use crate::stats::Departure;
use crate::table::Mapping;
use std::sync::atomic::Ordering;

impl Mapper {
    /// Removes every mapping; the mapper stays usable. For `FUSE_DESTROY`, a device's reset, a guest's reboot. What the
    /// guest will not give up stays live, and is logged.
    ///
    /// # Errors
    /// ENODEV (closed), EPERM (forked child).
    pub fn reset(&self) -> Result<()> {
        self.answer("reset", || {
            self.locked(|open| {
                self.sweep(open);
                Ok(())
            })?;
            log::debug!(target: LOG_TARGET, "reset the window at {}", self.window.base());
            Ok(())
        })
    }

    /// Removes every mapping, from the guest first, and closes the mapper for good. It must be called while the VM
    /// still exists; afterwards nothing calls the hypervisor any more. What the guest will not give up keeps its host
    /// memory for the life of the process, and is logged and counted. Again, on a closed mapper, it does nothing.
    ///
    /// # Errors
    /// EPERM in a forked child.
    pub fn drain_all(&self) -> Result<()> {
        if self.is_closed() {
            return Ok(());
        }
        if self.guard.is_child() {
            return Err(Error::Forked);
        }
        let mut state = self.lock()?;
        let notes = self.close(&mut state);
        drop(state);
        self.emit(notes);
        log::debug!(target: LOG_TARGET, "drained the window at {}", self.window.base());
        Ok(())
    }

    /// What a drop does: drains, with a warning, unless that was done or the process is a forked child.
    pub fn abandon(&self) {
        if self.is_closed() || self.in_forked_child() {
            return;
        }
        let (base, live) = (self.window.base(), self.live_mappings());
        log::warn!(target: LOG_TARGET, "mapper at {base} dropped without drain_all(), with {live} live mappings");
        // Fails in a forked child and in a callback alone: this is no child, and in a callback its caller has the mapper.
        let _ = self.drain_all();
    }

    /// Sweeps and closes, under the lock. Returns what to log after it.
    pub(super) fn close(&self, state: &mut Option<Open>) -> Vec<String> {
        let Some(mut open) = state.take() else { return Vec::new() };
        if open.table.len() == 0 {
            // Only to merge the window's holes, which the VMM may keep for long. They stay holes if it fails.
            open.unmap_many(self.window.whole(), &[]);
        }
        self.sweep(&mut open);
        let leaked: Vec<Mapping> = open.table.iter().copied().collect();
        for mapping in leaked {
            open.notes.push(format!("range {} is leaked: the guest may still reach it", mapping.span));
            self.strike(&mut open, &mapping, Departure::Leaked);
        }
        let Open { backend, mut notes, .. } = open;
        if let Err(refusal) = backend.close() {
            notes.push(refusal.to_string());
        }
        self.budget.give_back(self.vmas_of_window);
        // Only now: who sees the flag may destroy the VM.
        self.closed.store(true, Ordering::Release);
        notes
    }

    /// Removes every mapping, in one call of the backend if it can be; what it refuses stays in the book.
    fn sweep(&self, open: &mut Open) {
        let mappings: Vec<Mapping> = open.table.iter().copied().collect();
        if mappings.is_empty() {
            return;
        }
        if open.unmap_many(self.window.whole(), &mappings) {
            open.table.clear();
            let bytes = mappings.iter().map(|mapping| mapping.span.length()).sum();
            let count = mappings.len() as u64;
            self.counters.departed(Departure::Swept, count, bytes);
            self.budget.give_back(count.saturating_mul(self.vmas_per_mapping));
            return;
        }
        for mapping in mappings {
            if let Err(error) = self.unmap(open, mapping.span.start(), Departure::Swept, |_| Ok(())) {
                open.notes.push(error.to_string());
            }
        }
    }
}
