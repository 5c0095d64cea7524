//! Removing mappings, one by one or in a batch.

use super::{Mapper, Open};
use crate::LOG_TARGET;
use crate::addr::{Span, WindowOffset};
use crate::error::{Error, Result};
use crate::stats::Departure;
use crate::table::Mapping;

/// What became of each entry of a batch.
#[derive(Clone, Debug, Default)]
pub struct BatchResult {
    /// Entries removed.
    pub removed: u64,
    /// Entries that failed: their index in the batch and why, by rising index.
    pub failed: Vec<(usize, Error)>,
}

/// Neighbouring mappings of a batch, with nothing but holes between them: one call of the backend removes them all.
#[derive(Default)]
struct Run {
    span: Option<Span>,
    mappings: Vec<Mapping>,
    indices: Vec<usize>,
}

impl Mapper {
    /// Removes the mapping that starts at `window_offset` and is `length` bytes long.
    ///
    /// # Errors
    /// In this order: ENODEV (closed), EPERM (forked child), ENOENT (none starts there), EINVAL (its length is
    /// another), EIO (the guest still has it, and it is kept).
    pub fn remove(&self, window_offset: WindowOffset, length: u64) -> Result<()> {
        self.answer("remove_mapping", || {
            self.locked(|open| self.remove_one(open, window_offset, length))?;
            log::debug!(target: LOG_TARGET, "removed [{window_offset}, +{length:#x})");
            Ok(())
        })
    }

    /// Removes many. Each entry is tried, whatever becomes of others, and what becomes of it is what one-by-one removal
    /// in the order given would do.
    ///
    /// # Errors
    /// ENODEV (closed), EPERM (forked child). Those of the entries are in the result.
    pub fn remove_batch(&self, entries: &[(WindowOffset, u64)]) -> Result<BatchResult> {
        self.answer("remove_mappings", || {
            let mut failed = self.locked(|open| Ok(self.remove_in_runs(open, entries)))?;
            failed.sort_unstable_by_key(|(index, _)| *index);
            for (_, error) in &failed {
                self.count_failure("remove_mappings", error);
            }
            let removed = entries.len().saturating_sub(failed.len()) as u64;
            log::debug!(target: LOG_TARGET, "removed {removed} of a batch of {}", entries.len());
            Ok(BatchResult { removed, failed })
        })
    }

    fn remove_one(&self, open: &mut Open, offset: WindowOffset, length: u64) -> Result<()> {
        self.unmap(open, offset, Departure::Removed, |mapping| check_length(mapping, length))
    }

    fn remove_in_runs(&self, open: &mut Open, entries: &[(WindowOffset, u64)]) -> Vec<(usize, Error)> {
        let mut failed = Vec::new();
        // An offset's second entry has to see what became of the first, so it is kept for the end.
        let mut repeated = Vec::new();
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_by_key(|index| entries.get(*index).map(|(offset, _)| *offset)); // stable
        let mut run = Run::default();
        let mut previous = None;
        for index in order {
            let Some((offset, length)) = entries.get(index).copied() else { continue };
            if previous.replace(offset) == Some(offset) {
                repeated.push(index);
                continue;
            }
            match find(open, offset, length) {
                Ok(mapping) => {
                    if !run.reaches(open, &mapping) {
                        self.remove_run(open, std::mem::take(&mut run), &mut failed);
                    }
                    run.push(index, mapping);
                }
                Err(error) => failed.push((index, error)),
            }
        }
        self.remove_run(open, run, &mut failed);
        repeated.sort_unstable();
        for index in repeated {
            let Some((offset, length)) = entries.get(index).copied() else { continue };
            if let Err(error) = self.remove_one(open, offset, length) {
                failed.push((index, error));
            }
        }
        failed
    }

    fn remove_run(&self, open: &mut Open, run: Run, failed: &mut Vec<(usize, Error)>) {
        let Some(span) = run.span else { return };
        let as_one = run.mappings.len() > 1 && open.unmap_many(span, &run.mappings);
        for (index, mapping) in run.indices.into_iter().zip(&run.mappings) {
            if as_one {
                self.strike(open, mapping, Departure::Removed);
            } else if let Err(error) = self.unmap(open, mapping.span.start(), Departure::Removed, |_| Ok(())) {
                failed.push((index, error));
            }
        }
    }
}

impl Run {
    /// Whether nothing but holes lies between the run and `mapping`, which is further up.
    fn reaches(&self, open: &Open, mapping: &Mapping) -> bool {
        self.span.is_some_and(|span| open.table.first_from(span.end()) == Some(mapping))
    }

    fn push(&mut self, index: usize, mapping: Mapping) {
        self.span = Some(self.span.map_or(mapping.span, |span| span.hull(mapping.span)));
        self.mappings.push(mapping);
        self.indices.push(index);
    }
}

fn find(open: &Open, offset: WindowOffset, length: u64) -> Result<Mapping> {
    let mapping = open.table.starting_at(offset).ok_or(Error::NoMapping { offset })?;
    check_length(mapping, length)?;
    Ok(*mapping)
}

fn check_length(mapping: &Mapping, asked: u64) -> Result<()> {
    if mapping.span.length() == asked { Ok(()) } else { Err(Error::LengthDiffers { asked, live: mapping.span }) }
}
