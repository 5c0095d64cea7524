//! The model: what each page of the window should show.

use super::host::Shared;
use daxmap_core::{FileId, FileOffset, Mapping, Span, WindowOffset, page_size};

/// What a page shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Which request made it so. Pages side by side of one request are one mapping.
    made_by: u32,
    pub(crate) file: FileId,
    pub(crate) file_offset: u64,
    pub(crate) writable: bool,
}

/// What is asked to be shown, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) file_offset: u64,
    pub(crate) window_offset: u64,
    pub(crate) length: u64,
    pub(crate) writable: bool,
}

#[derive(Debug)]
pub(crate) struct Model {
    pages: Vec<Option<Shown>>,
    requests: u32,
    readonly: bool,
    /// The most mappings.
    limit: Option<usize>,
}

impl Model {
    pub(crate) fn new(pages: usize, readonly: bool, limit: Option<usize>) -> Self {
        Self { pages: vec![None; pages], requests: 0, readonly, limit }
    }

    /// What comes of a setup, an errno or 0, of the file of the guest's inode, if there is one.
    pub(crate) fn setup(&mut self, asked: Setup, file: Option<&Shared>) -> i32 {
        let Some(pages) = self.pages(asked.window_offset, asked.length) else { return libc::EINVAL };
        let ends_in_file = asked.file_offset.checked_add(asked.length).is_some_and(|end| end < 1 << 63);
        if !asked.file_offset.is_multiple_of(page_size()) || !ends_in_file {
            return libc::EINVAL;
        }
        if asked.writable && self.readonly {
            return libc::EROFS;
        }
        let Some(file) = file else { return libc::ENOENT };
        let refused = asked.writable && !file.can_write;
        let span = Span::new(WindowOffset(asked.window_offset), asked.length).unwrap();
        let live = Mapping { span, file_offset: FileOffset(asked.file_offset), file: file.id, writable: false };
        if asked.writable && self.book().contains(&live) {
            if refused {
                return libc::EACCES;
            }
            for shown in self.pages[pages].iter_mut().flatten() {
                shown.writable = true;
            }
            return 0;
        }
        self.requests += 1;
        let mut after = self.pages.clone();
        for (page, at) in after[pages].iter_mut().zip(0..) {
            *page = Some(Shown {
                made_by: self.requests,
                file: file.id,
                file_offset: asked.file_offset + at * page_size(),
                writable: asked.writable,
            });
        }
        self.change_to(after, refused)
    }

    /// What comes of a removal of ranges, by window offset and length: all that are valid are removed. With a limit, in
    /// which order would matter: then there is one range.
    pub(crate) fn remove(&mut self, ranges: &[(u64, u64)]) -> i32 {
        assert!(self.limit.is_none() || ranges.len() == 1);
        let mut errno = 0;
        let mut after = self.pages.clone();
        for (offset, length) in ranges {
            match self.pages(*offset, *length) {
                Some(pages) => after[pages].fill(None),
                None => errno = libc::EINVAL,
            }
        }
        match self.change_to(after, false) {
            0 => errno,
            over_limit => over_limit,
        }
    }

    pub(crate) fn clear(&mut self) {
        self.pages.fill(None);
    }

    /// What a byte of the window is of.
    pub(crate) fn at(&self, window_offset: u64) -> Option<Shown> {
        self.pages[usize::try_from(window_offset / page_size()).unwrap()]
    }

    /// The mappings, by rising window offset.
    pub(crate) fn book(&self) -> Vec<Mapping> {
        book_of(&self.pages)
    }

    pub(crate) fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    /// A change that needs one more mapping than there may be is refused; then one that `mmap` refuses.
    fn change_to(&mut self, after: Vec<Option<Shown>>, refused_by_host: bool) -> i32 {
        if let Some(limit) = self.limit {
            let mappings = book_of(&after).len();
            if mappings > limit && mappings > self.book().len() {
                return libc::ENOSPC;
            }
        }
        if refused_by_host {
            return libc::EACCES;
        }
        self.pages = after;
        0
    }

    /// The pages of a range, if it is one of whole pages of the window.
    fn pages(&self, offset: u64, length: u64) -> Option<std::ops::Range<usize>> {
        let end = offset.checked_add(length)?;
        let is_right = length > 0
            && offset.is_multiple_of(page_size())
            && length.is_multiple_of(page_size())
            && end <= self.pages.len() as u64 * page_size();
        let page = |at: u64| usize::try_from(at / page_size()).unwrap();
        is_right.then(|| page(offset)..page(end))
    }
}

fn book_of(pages: &[Option<Shown>]) -> Vec<Mapping> {
    let mut start = 0;
    let mut book = Vec::new();
    for run in pages.chunk_by(|page, next| page.map(|shown| shown.made_by) == next.map(|shown| shown.made_by)) {
        let length = run.len() as u64 * page_size();
        if let Some(Shown { file, file_offset, writable, .. }) = run[0] {
            let span = Span::new(WindowOffset(start), length).unwrap();
            book.push(Mapping { span, file_offset: FileOffset(file_offset), file, writable });
        }
        start += length;
    }
    book
}
