//! What the window shows, and how much of it the host has in memory: for a picture of it.

use super::Mapper;
use crate::addr::{DAX_RANGE, Span};
use crate::backend::Backend;
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

impl Mapper {
    /// All live mappings by rising window offset, and what the host has of them; none on a closed mapper. Others may use
    /// the mapper meanwhile: a mapping that has changed when its turn comes is left out.
    ///
    /// # Errors
    /// EPERM in a forked child, EDEADLK in a callback of this mapper.
    pub fn survey(&self) -> Result<Vec<Surveyed>> {
        let (mut surveyed, files) = (Vec::new(), MappedFiles::new());
        for mapping in self.mappings()? {
            // One at a time: the guest's requests wait no longer than for one.
            surveyed.extend(self.look(|open| {
                let stands = open.book.starting_at(mapping.span.start()) == Some(&mapping);
                stands.then(|| self.survey_of(&*open.backend, mapping, &files))
            })?);
        }
        Ok(surveyed)
    }

    fn survey_of(&self, backend: &dyn Backend, mapping: Mapping, files: &MappedFiles) -> Surveyed {
        let Some(address) = backend.host_address_at(mapping.span.start()) else {
            return Surveyed { mapping, path: None, file_size: None, resident: Vec::new() };
        };
        let pages = resident_pages(address, mapping.span.length()).ok();
        let file = files.at(address);
        Surveyed {
            mapping,
            path: file.as_ref().and_then(MappedFile::path),
            file_size: file.and_then(|file| file.length(mapping.file)),
            resident: pages.map(|pages| by_range(mapping.span, &pages, self.page_size())).unwrap_or_default(),
        }
    }
}

/// How many bytes of `pages`, those of `span`, there are in each range that it touches.
fn by_range(span: Span, pages: &[bool], page_size: u64) -> Vec<u64> {
    let mut ranges = Vec::new();
    let mut current = None;
    let mut offset = span.start().0;
    for resident in pages {
        let range = offset.checked_div(DAX_RANGE);
        if current != range {
            ranges.push(0_u64);
            current = range;
        }
        if let (true, Some(bytes)) = (*resident, ranges.last_mut()) {
            *bytes = bytes.saturating_add(page_size);
        }
        offset = offset.saturating_add(page_size);
    }
    ranges
}
