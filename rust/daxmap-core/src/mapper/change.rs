//! One change of what the window shows: charged, made, and booked.

use super::{Mapper, Open};
use crate::addr::Span;
use crate::backend::{Change, Failure};
use crate::book::Mapping;
use crate::error::{Error, Result};
use crate::stats::Departure;

impl Mapper {
    /// Has the backend make a change, and books what came of it. The old mappings, as far as they lie in the span, leave
    /// the book by `departure`; where that is `None`, the new one is the old one still, in another form.
    ///
    /// # Errors
    /// ENOSPC (budget; nothing has changed), what the backend said (nothing has changed), EIO (mappings were lost).
    pub(super) fn change(&self, open: &mut Open, change: &Change<'_>, departure: Option<Departure>) -> Result<()> {
        self.reserve(open, change)?;
        let span = change.span;
        let changed = match open.backend.change(change, &mut open.notes) {
            Ok(()) => {
                if let Some(departure) = departure {
                    self.take_out(open, span, change.old, departure);
                }
                if let Some(new) = &change.new {
                    open.book.put(new.into());
                }
                Ok(())
            }
            Err(Failure::Unchanged(cause)) if change.new.is_some() => Err(Error::MapFailed { span, cause }),
            Err(Failure::Unchanged(cause)) => Err(Error::UnmapRefused { span, cause }),
            Err(Failure::Lost { cause, gone, new_is_unknown }) => {
                for range in gone {
                    self.take_out(open, range, change.old, Departure::Lost);
                }
                if new_is_unknown {
                    self.counters.lost_at_once(span.length());
                }
                Err(Error::Lost { span, cause })
            }
            Err(Failure::OutOfControl(cause)) => {
                self.take_out(open, span, change.old, Departure::Lost);
                Err(Error::OutOfControl { span, cause })
            }
        };
        open.recharge();
        changed
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
        let pieces = change.old.iter().flat_map(|mapping| mapping.span.without(change.span)).count();
        let added = pieces.saturating_add(usize::from(change.new.is_some()));
        let more = added.saturating_sub(change.old.len()) as u64;
        if more == 0 {
            return Ok(());
        }
        if let Some(limit) = self.options.max_mappings {
            let fits = open.entries().saturating_add(more) <= limit;
            return fits.then_some(()).ok_or(Error::OverBudget { limit, unit: "mappings" });
        }
        let charged = open.charge.try_grow(more.saturating_mul(open.backend.vmas_per_mapping()));
        let limit = open.charge.limit();
        charged.then_some(()).ok_or(Error::OverBudget { limit, unit: "memory areas of this process" })
    }
}
