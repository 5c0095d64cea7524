//! Removing mappings: exactly as they were set up, or by any range.

use super::{Mapper, Open};
use crate::addr::{Span, WindowOffset};
use crate::backend::Change;
use crate::book::Mapping;
use crate::error::{Error, Result};
use crate::stats::Departure;

/// What became of each entry of a batch.
#[derive(Clone, Debug, Default)]
pub struct BatchResult {
    /// Entries removed.
    pub removed: u64,
    /// Entries that failed: their index in the batch and why, by rising index.
    pub failed: Vec<(usize, Error)>,
}

/// What an entry of a batch may name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    /// Just one mapping, start and length.
    Mapping,
    /// Any range of the window.
    Range,
}

/// Entries of a batch with nothing but holes between them: one call of the backend removes them all.
#[derive(Default)]
struct Run {
    hull: Option<Span>,
    entries: Vec<(usize, Span)>,
}

impl Mapper {
    /// Removes the mapping that starts at `window_offset` and is `length` bytes long.
    ///
    /// # Errors
    /// In this order: ENODEV (closed), EPERM (forked child), ENOENT (none starts there), EINVAL (its length is
    /// another), EBUSY (lent, see [`Self::resolve`]), EIO (the guest still has it, and it is kept; or it is unknown whether
    /// it has, see [`Error::Lost`]).
    ///
    /// # Examples
    /// ```
    /// # mod doc { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/mapper.rs")); }
    /// # use {daxmap_core::*, doc::*};
    /// # let (mapper, file) = (mapper()?, file()?);
    /// # let (page, fd) = (mapper.page_size(), std::os::fd::AsRawFd::as_raw_fd(&file));
    /// mapper.setup(fd, &request(0, 2 * page), Overlap::Refuse)?;
    /// let refused = mapper.remove(WindowOffset(0), page).unwrap_err();
    /// assert!(matches!(refused, Error::LengthDiffers { .. }));
    /// mapper.remove(WindowOffset(0), 2 * page)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove(&self, window_offset: WindowOffset, length: u64) -> Result<()> {
        self.attempt("remove_mapping", || {
            self.locked(|open| self.remove_exactly(open, window_offset, length, Departure::Removed))?;
            self.debug(format_args!("removed [{window_offset}, +{length:#x})"));
            Ok(())
        })
    }

    /// Has `[window_offset, +length)`, in bytes, show nothing: mappings that lie in it go, and those that reach out of it
    /// are cut. Where nothing is shown, that is a success.
    ///
    /// # Errors
    /// In this order: ENODEV (closed), EPERM (forked child), EINVAL (not aligned, empty, outside the window), EBUSY (lent), ENOSPC (a
    /// cut in the middle makes two of one, and the budget is used up), EIO (as [`Self::remove`]; the other mappings in the
    /// range are gone).
    ///
    /// # Examples
    /// ```
    /// # mod doc { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/mapper.rs")); }
    /// # use {daxmap_core::*, doc::*};
    /// # let (mapper, file) = (mapper()?, file()?);
    /// # let (page, fd) = (mapper.page_size(), std::os::fd::AsRawFd::as_raw_fd(&file));
    /// mapper.setup(fd, &request(0, 3 * page), Overlap::Refuse)?;
    /// mapper.remove_range(WindowOffset(page), page)?; // the middle
    /// let left = mapper.mappings()?;
    /// assert_eq!(left.len(), 2);
    /// assert_eq!(left[1].file_offset, FileOffset(2 * page), "it shows what it showed");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove_range(&self, window_offset: WindowOffset, length: u64) -> Result<()> {
        self.attempt("remove_range", || {
            let span = self.window.request(window_offset, length)?;
            self.locked(|open| self.clear(open, span, Departure::Removed))?;
            self.debug(format_args!("removed all in {span}"));
            Ok(())
        })
    }

    /// Has the whole window show nothing, as [`Self::remove_range`] of all of it.
    ///
    /// # Errors
    /// ENODEV (closed), EPERM (forked child), EBUSY (lent), EIO (as [`Self::remove_range`]).
    pub fn remove_all(&self) -> Result<()> {
        self.remove_range(WindowOffset(0), self.window.size())
    }

    /// Removes many mappings. Each entry is tried, whatever becomes of others, and what becomes of it is what
    /// [`Self::remove`] in the order given would do.
    ///
    /// # Errors
    /// ENODEV (closed), EPERM (forked child). Those of the entries are in the result.
    ///
    /// # Examples
    /// ```
    /// # mod doc { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/mapper.rs")); }
    /// # use {daxmap_core::*, doc::*};
    /// # let (mapper, file) = (mapper()?, file()?);
    /// # let (page, fd) = (mapper.page_size(), std::os::fd::AsRawFd::as_raw_fd(&file));
    /// mapper.setup(fd, &request(0, page), Overlap::Refuse)?;
    /// mapper.setup(fd, &request(page, page), Overlap::Refuse)?;
    /// let entries = [0, 0, page].map(|offset| (WindowOffset(offset), page));
    /// let outcome = mapper.remove_batch(&entries)?;
    /// assert_eq!(outcome.removed, 2);
    /// assert_eq!(outcome.failed[0].0, 1, "the second entry: the first has removed its mapping");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove_batch(&self, entries: &[(WindowOffset, u64)]) -> Result<BatchResult> {
        self.attempt("remove_mappings", || {
            let failed = self.locked(|open| Ok(self.remove_in_runs(open, Entry::Mapping, entries)))?;
            for (_, error) in &failed {
                self.count_failure("remove_mappings", error);
            }
            let removed = entries.len().saturating_sub(failed.len()) as u64;
            self.debug(format_args!("removed {removed} of a batch of {}", entries.len()));
            Ok(BatchResult { removed, failed })
        })
    }

    /// Has many ranges show nothing, each as [`Self::remove_range`], whatever becomes of others, under one lock.
    ///
    /// # Errors
    /// ENODEV (closed), EPERM (forked child), else that of the first entry that failed.
    pub fn remove_ranges(&self, entries: &[(WindowOffset, u64)]) -> Result<()> {
        if let [(offset, length)] = entries {
            return self.remove_range(*offset, *length); // what a guest mostly asks for, without the sorting
        }
        self.attempt("remove_range", || {
            let mut failed = self.locked(|open| Ok(self.remove_in_runs(open, Entry::Range, entries)))?.into_iter();
            let first = failed.next();
            for (_, error) in failed {
                self.count_failure("remove_range", &error);
            }
            self.debug(format_args!("removed all in {} ranges", entries.len()));
            first.map_or(Ok(()), |(_, error)| Err(error))
        })
    }

    /// The range that an entry names.
    fn range_of(&self, open: &Open, entry: Entry, offset: WindowOffset, length: u64) -> Result<Span> {
        match entry {
            Entry::Mapping => {
                let mapping = open.book.starting_at(offset).ok_or_else(|| no_mapping(open, offset))?;
                check_length(mapping, length).map(|()| mapping.span)
            }
            Entry::Range => self.window.request(offset, length),
        }
    }

    /// Removes one whole mapping. As `change` does it, with one look-up in the book: what a guest does most, after a setup.
    fn remove_exactly(&self, open: &mut Open, offset: WindowOffset, length: u64, departure: Departure) -> Result<()> {
        let Some(entry) = open.book.entry(offset) else { return Err(no_mapping(open, offset)) };
        let mapping = *entry.get();
        check_length(&mapping, length)?;
        self.refuse_taking(mapping.span, departure)?;
        let change = Change { span: mapping.span, old: &[mapping], new: None };
        if let Err(failure) = open.backend.change(&change, &mut open.notes) {
            return Err(self.failed(open, &change, failure));
        }
        entry.remove();
        self.counters.departed(departure, 1, length);
        open.recharge();
        Ok(())
    }

    fn remove_in_runs(&self, open: &mut Open, entry: Entry, entries: &[(WindowOffset, u64)]) -> Vec<(usize, Error)> {
        let mut failed = Vec::new();
        // The second entry for a mapping has to see what became of the first, so it is kept for the end.
        let mut repeated = Vec::new();
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_by_key(|index| entries.get(*index).map(|(offset, _)| *offset)); // stable
        let mut run = Run::default();
        let mut previous = None;
        for index in order {
            let Some((offset, length)) = entries.get(index).copied() else { continue };
            if previous.replace(offset) == Some(offset) && entry == Entry::Mapping {
                repeated.push(index);
                continue;
            }
            match self.range_of(open, entry, offset, length) {
                Ok(span) => {
                    if !run.reaches(open, span) {
                        self.remove_run(open, std::mem::take(&mut run), &mut failed);
                    }
                    run.push(index, span);
                }
                Err(error) => failed.push((index, error)),
            }
        }
        self.remove_run(open, run, &mut failed);
        repeated.sort_unstable();
        for index in repeated {
            let Some((offset, length)) = entries.get(index).copied() else { continue };
            if let Err(error) = self.remove_exactly(open, offset, length, Departure::Removed) {
                failed.push((index, error));
            }
        }
        failed.sort_unstable_by_key(|(index, _)| *index);
        failed
    }

    fn remove_run(&self, open: &mut Open, run: Run, failed: &mut Vec<(usize, Error)>) {
        let Some(hull) = run.hull else { return };
        if run.entries.len() > 1 && open.backend.changes_at_once() && open.settle(hull).is_ok() {
            let old = open.book.overlapping(hull);
            if old.is_empty() {
                return;
            }
            let change = Change { span: hull, old: &old, new: None };
            let changed = self.take_away(open, &change, Departure::Removed);
            if !refused(&changed) {
                let why = changed.err();
                failed.extend(run.entries.iter().filter_map(|(index, _)| Some((*index, why.clone()?))));
                return;
            }
        }
        for (index, span) in run.entries {
            if let Err(error) = self.clear(open, span, Departure::Removed) {
                failed.push((index, error));
            }
        }
    }

    fn take_away(&self, open: &mut Open, change: &Change<'_>, departure: Departure) -> Result<()> {
        self.refuse_taking(change.span, departure)?;
        self.change(open, change, Some(departure))
    }

    /// EBUSY for a range that is lent; but a sweep is none of the guest's wishes, and passes.
    fn refuse_taking(&self, span: Span, departure: Departure) -> Result<()> {
        if matches!(departure, Departure::Swept) { Ok(()) } else { self.refuse_lent(span) }
    }

    /// Has `span` show nothing. Every mapping in it is tried; the first error is returned.
    pub(super) fn clear(&self, open: &mut Open, span: Span, departure: Departure) -> Result<()> {
        let mut cleared = open.settle(span).map_err(|cause| Error::Unsettled { span, cause });
        if open.book.starting_at(span.start()).is_some_and(|mapping| mapping.span == span) {
            return cleared.and(self.remove_exactly(open, span.start(), span.length(), departure));
        }
        let old = open.book.overlapping(span);
        if old.is_empty() {
            return cleared;
        }
        if open.backend.changes_at_once() {
            let changed = self.take_away(open, &Change { span, old: &old, new: None }, departure);
            let alone = matches!(&*old, [only] if only.span.contains(span));
            if alone || !refused(&changed) {
                return cleared.and(changed);
            }
        }
        for mapping in old.iter() {
            let Some(part) = mapping.span.intersection(span) else { continue };
            let change = Change { span: part, old: &[*mapping], new: None };
            cleared = cleared.and(self.take_away(open, &change, departure));
        }
        cleared
    }
}

fn no_mapping(open: &Open, offset: WindowOffset) -> Error {
    Error::NoMapping { offset, holder: open.book.at(offset).map(|mapping| mapping.span) }
}

fn check_length(mapping: &Mapping, asked: u64) -> Result<()> {
    if mapping.span.length() == asked { Ok(()) } else { Err(Error::LengthDiffers { asked, live: mapping.span }) }
}

/// Whether a change of many mappings was refused, so that each of them is there still, and can be tried on its own.
fn refused(changed: &Result<()>) -> bool {
    matches!(changed, Err(Error::UnmapRefused { .. } | Error::OverBudget { .. } | Error::Lent { .. }))
}

/// What lies between the two, the second of which does not start before the first.
fn gap(before: Span, after: Span) -> Option<Span> {
    let length = after.start().0.checked_sub(before.end().0)?;
    Span::new(before.end(), length)
}

impl Run {
    /// Whether nothing but holes lies between the run and `span`, which does not start before it.
    fn reaches(&self, open: &Open, span: Span) -> bool {
        let Some(hull) = self.hull else { return true };
        gap(hull, span).is_none_or(|gap| open.book.overlap(gap).is_none())
    }

    fn push(&mut self, index: usize, span: Span) {
        self.hull = Some(self.hull.map_or(span, |hull| hull.hull(span)));
        self.entries.push((index, span));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::check;

    #[test]
    fn a_gap_is_its_model() {
        let span = |start, end| Span::new(WindowOffset(start), end - start).unwrap();
        check("removal_gap", |[a, b, c, d]| {
            gap(span(a, b), span(c, d)).into_iter().flat_map(|gap| [gap.start().0, gap.end().0])
        });
    }
}
