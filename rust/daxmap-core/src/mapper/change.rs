//! One change of what the window shows: charged, made, and booked.

use super::{Mapper, Open};
use crate::addr::Span;
use crate::backend::{Change, Failure, Placement};
use crate::book::Mapping;
use crate::error::{Error, Result};
use crate::stats::Departure;
use crate::sys::map_remedy;

/// What the budget of the process counts.
pub(super) const VMAS: &str = "memory areas of this process (half of vm.max_map_count; two a mapping at most)";

impl Mapper {
    /// Has the backend make a change, and books what came of it. The old mappings, as far as they lie in the span, leave
    /// the book by `departure`; where that is `None`, the new one is the old one still, in another form.
    ///
    /// # Errors
    /// EPERM (forked child), ENOSPC (budget; nothing has changed), what the backend said (nothing has changed), EIO (mappings
    /// were lost).
    pub(super) fn change(&self, open: &mut Open, change: &Change<'_>, departure: Option<Departure>) -> Result<()> {
        self.not_in_child()?;
        self.reserve(open, change)?;
        if let Err(failure) = open.backend.change(change, &mut open.notes) {
            return Err(self.failed(open, change, failure));
        }
        match (departure, change.old, change.new) {
            // It is put in the place of the old one, which that way leaves the book.
            (Some(departure), [old], Some(new)) if old.span == new.span => {
                self.counters.departed(departure, 1, new.span.length());
            }
            (Some(departure), ..) => self.take_out(open, change.span, change.old, departure),
            (None, ..) => {}
        }
        if let Some(new) = change.new {
            open.book.put(new.into());
        }
        open.recharge();
        Ok(())
    }

    /// Books what came of a change that the backend failed to make.
    pub(super) fn failed(&self, open: &mut Open, change: &Change<'_>, failure: Failure) -> Error {
        let span = change.span;
        let error = match failure {
            Failure::Unchanged(cause) => match change.new {
                Some(Placement { fd, writable, .. }) => {
                    let of_host = cause.source().is_none();
                    let remedy = of_host.then(|| map_remedy(*fd, *writable, cause.errno())).flatten();
                    Error::MapFailed { span, fd: *fd, remedy, cause }
                }
                None => Error::UnmapRefused { span, cause },
            },
            Failure::Lost { cause, gone, new_is_unknown } => {
                for range in gone {
                    self.take_out(open, range, change.old, Departure::Lost);
                }
                if new_is_unknown {
                    self.counters.lost_at_once(span.length());
                }
                if change.old.is_empty() { Error::Unknown { span, cause } } else { Error::Lost { span, cause } }
            }
            Failure::OutOfControl(cause) => {
                self.take_out(open, span, change.old, Departure::Lost);
                Error::OutOfControl { span, cause }
            }
        };
        open.recharge();
        error
    }

    /// Takes `span` out of the book, and counts what leaves it. `old` is what lies in it.
    fn take_out(&self, open: &mut Open, span: Span, old: &[Mapping], departure: Departure) {
        match old {
            [] => {}
            [only] if only.span == span => {
                open.book.remove(span.start());
                self.counters.departed(departure, 1, span.length());
            }
            _ => self.counters.cut(departure, open.book.cut(span)),
        }
    }

    /// Charges the budget for what there will be after a change, before anything is touched.
    fn reserve(&self, open: &mut Open, change: &Change<'_>) -> Result<()> {
        let pieces = pieces_left(change.old, change.span);
        let added = pieces.saturating_add(usize::from(change.new.is_some()));
        let more = added.saturating_sub(change.old.len()) as u64;
        if more == 0 {
            return Ok(());
        }
        if let Some(limit) = self.options.max_mappings {
            let fits = open.entries().saturating_add(more) <= limit;
            return fits.then_some(()).ok_or(Error::OverBudget { limit, unit: "mappings (max_mappings)" });
        }
        let charged = open.charge.try_grow(more.saturating_mul(open.vmas_per_mapping));
        let limit = open.charge.limit();
        charged.then_some(()).ok_or(Error::OverBudget { limit, unit: VMAS })
    }
}

/// How many pieces a cut leaves of `old`, which are what lies in `span`: only the first, and the last, can reach out of it.
fn pieces_left(old: &[Mapping], span: Span) -> usize {
    let before = old.first().is_some_and(|first| first.span.start() < span.start());
    let after = old.last().is_some_and(|last| last.span.end() > span.end());
    usize::from(before).saturating_add(usize::from(after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::{FileOffset, WindowOffset};
    use crate::sys::FileId;
    use crate::vectors::check;

    #[test]
    fn pieces_that_are_left_are_their_model() {
        let span = |start, end| Span::new(WindowOffset(start), end - start).unwrap();
        let live = |start, end| {
            let (file, file_offset) = (FileId { dev: 1, ino: 2 }, FileOffset(0));
            Mapping { span: span(start, end), file_offset, file, writable: false }
        };
        check("pieces_left", |[a, b, c, d, e, f, start, end]| {
            [pieces_left(&[live(a, b), live(c, d), live(e, f)], span(start, end)) as u64]
        });
    }
}
