//! What the window shows, and how much of it the host has in memory: for a picture of it.

use super::{Mapper, Open};
use crate::addr::{DAX_RANGE, Span};
use crate::book::Mapping;
use crate::error::Result;
use crate::sys::{MappedFile, MappedFiles, resident_pages};
use std::ffi::CString;

/// A live mapping, and what the host has of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surveyed {
    /// The mapping.
    pub mapping: Mapping,
    /// Where its file is, or was, with " (deleted)" behind it (`proc_pid_maps(5)`). A guest may have chosen the name.
    pub path: Option<CString>,
    /// How long its file is, in bytes, where that can be told.
    pub file_size: Option<u64>,
    /// For each range of [`DAX_RANGE`] bytes that it touches, how many of its bytes there are in the host's page cache;
    /// nothing where that can't be told.
    pub resident: Vec<u64>,
}

/// How many of those ranges are looked at with the lock held.
const AT_ONCE: usize = 512;

impl Mapper {
    /// All live mappings by rising window offset, and what the host has of them; none on a closed mapper. Others may use
    /// the mapper meanwhile, and wait no longer than for a GiB of one mapping; a mapping that has changed when its turn
    /// comes is left out.
    ///
    /// # Errors
    /// EPERM in a forked child, EDEADLK in a callback of this mapper.
    pub fn survey(&self) -> Result<Vec<Surveyed>> {
        let (mut surveyed, files) = (Vec::new(), MappedFiles::new());
        for mapping in self.mappings()? {
            let Some(seen) = self.look(|open| stands(open, mapping).then(|| survey_of(open, mapping, &files)))? else {
                continue;
            };
            if let Some(resident) = self.resident(mapping, seen.file_size)? {
                surveyed.push(Surveyed { resident, ..seen });
            }
        }
        Ok(surveyed)
    }

    /// How many bytes of each range of [`DAX_RANGE`] are resident; `None` if the mapping has changed meanwhile.
    fn resident(&self, mapping: Mapping, file_size: Option<u64>) -> Result<Option<Vec<u64>>> {
        let page_size = self.page_size();
        let of_file = file_size.map(|size| {
            size.saturating_sub(mapping.file_offset.0).checked_next_multiple_of(page_size).unwrap_or(u64::MAX)
        });
        let shown = Span::new(mapping.span.start(), of_file.unwrap_or(u64::MAX).min(mapping.span.length()));
        let (mut resident, mut ranges) = (Vec::new(), mapping.span.cut_at_multiples(DAX_RANGE));
        loop {
            let batch: Vec<Span> = ranges.by_ref().take(AT_ONCE).collect();
            if batch.is_empty() {
                return Ok(Some(resident));
            }
            let counted = self.look(|open| {
                let count = |range: &Span| {
                    let Some(part) = shown.and_then(|shown| shown.intersection(*range)) else { return Some(0) };
                    let address = open.backend.host_address_at(part.start())?;
                    let pages = resident_pages(address, part.length()).ok()?;
                    let there = pages.into_iter().filter(|resident| *resident).count();
                    Some((there as u64).saturating_mul(page_size))
                };
                stands(open, mapping).then(|| batch.iter().map(count).collect::<Option<Vec<u64>>>())
            })?;
            match counted {
                None => return Ok(None),
                Some(None) => return Ok(Some(Vec::new())), // it can't be told
                Some(Some(counted)) => resident.extend(counted),
            }
        }
    }
}

fn stands(open: &Open, mapping: Mapping) -> bool {
    open.book.starting_at(mapping.span.start()) == Some(&mapping)
}

/// All but what is resident.
fn survey_of(open: &Open, mapping: Mapping, files: &MappedFiles) -> Surveyed {
    let file = open.backend.host_address_at(mapping.span.start()).and_then(|address| files.at(address));
    Surveyed {
        mapping,
        path: file.as_ref().and_then(MappedFile::path),
        file_size: file.and_then(|file| file.length(mapping.file)),
        resident: Vec::new(),
    }
}
