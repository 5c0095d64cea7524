//! Looking at the window: who owns what, and the VMM's own reads and writes.

use super::{Mapper, Open};
use crate::addr::{GuestAddress, Span, WindowOffset};
use crate::book::Mapping;
use crate::error::{Error, Result};
use crate::no_page::NoPage;
use crate::sys::{Errno, MappedFile, READ_CALL, WRITE_CALL};

impl Mapper {
    /// All live mappings by rising window offset, as they were at one moment; none on a closed mapper.
    ///
    /// # Errors
    /// EPERM in a forked child, EDEADLK in a callback of this mapper.
    pub fn mappings(&self) -> Result<Vec<Mapping>> {
        self.look(|open| open.book.iter().copied().collect())
    }

    /// The mapping that holds the byte at `offset`; none on a closed mapper.
    ///
    /// # Errors
    /// EPERM in a forked child, EDEADLK in a callback of this mapper.
    pub fn lookup(&self, offset: WindowOffset) -> Result<Option<Mapping>> {
        self.look(|open| open.book.at(offset).copied())
    }

    pub(super) fn look<T: Default>(&self, at: impl FnOnce(&Open) -> T) -> Result<T> {
        match self.gate() {
            Err(Error::Closed) => return Ok(T::default()),
            gate => gate?,
        }
        self.under_lock(|state| state.as_ref().map(at).unwrap_or_default())
    }

    /// Copies `length` bytes out of the window, from guest physical address `address`, both of any alignment. Pages are
    /// read in as needed, with the mapper's lock held.
    ///
    /// # Errors
    /// ENODEV (closed), EPERM (forked child), EFAULT (not in the window, a hole, a page past the end of its file, or one
    /// that the host could not supply; the message says which), ENOMEM (no memory for so many bytes), and what the host
    /// said if it lets no copy be made.
    pub fn read(&self, address: GuestAddress, length: u64) -> Result<Vec<u8>> {
        self.attempt("read", || {
            self.locked(|open| {
                let mut buffer = Vec::new();
                let Some(span) = self.shown(open, address, length)? else { return Ok(buffer) };
                let size = usize::try_from(length).unwrap_or(usize::MAX);
                let reserved = buffer.try_reserve_exact(size);
                reserved.map_err(|_| Error::CopyFailed { address, call: "malloc", errno: Errno(libc::ENOMEM) })?;
                buffer.resize(size, 0);
                let copied = open.backend.read(span.start(), &mut buffer);
                copied.map_err(|errno| self.why_not(open, span, READ_CALL, errno))?;
                Ok(buffer)
            })
        })
    }

    /// Copies `data` into the window, and so into the files, at guest physical address `address` of any alignment. The
    /// range is checked first; bytes before a page that the host does not have may have been written all the same.
    ///
    /// # Errors
    /// As [`Mapper::read`], and EACCES where a mapping is read-only.
    ///
    /// # Examples
    /// ```
    /// # mod doc { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/mapper.rs")); }
    /// # use {daxmap_core::*, doc::*};
    /// # let (mapper, file) = (mapper()?, file()?);
    /// # let (page, fd) = (mapper.page_size(), std::os::fd::AsRawFd::as_raw_fd(&file));
    /// mapper.map_file(fd, WindowOffset(0), true, Overlap::Refuse)?;
    /// mapper.write(GuestAddress(BASE.0 + 1), b"DAX")?;
    /// assert_eq!(mapper.read(BASE, 5)?, b"\0DAX\0");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write(&self, address: GuestAddress, data: &[u8]) -> Result<()> {
        let length = data.len() as u64;
        self.attempt("write", || {
            self.locked(|open| {
                let Some(span) = self.shown(open, address, length)? else { return Ok(()) };
                check_writable(open, span, address)?;
                let copied = open.backend.write(span.start(), data);
                copied.map_err(|errno| self.why_not(open, span, WRITE_CALL, errno))
            })
        })
    }

    /// The range of an access, if it is not empty and mappings hold all of it.
    pub(super) fn shown(&self, open: &Open, address: GuestAddress, length: u64) -> Result<Option<Span>> {
        if length == 0 {
            return Ok(None);
        }
        let (base, size) = (self.window.base(), self.window.size());
        let span = self.window.span_at(address, length).ok_or(Error::AccessOutside { address, length, base, size })?;
        let reached = covering(open, span).last().map_or(span.start(), |mapping| mapping.span.end());
        if reached < span.end() {
            return Err(Error::Hole { address, length, hole: self.window.address_of(reached) });
        }
        Ok(Some(span))
    }

    /// Why a copy from or to `span`, which mappings hold, failed.
    fn why_not(&self, open: &Open, span: Span, call: &'static str, errno: Errno) -> Error {
        if errno.0 == libc::ENOTSUP {
            return Error::Elsewhere { address: self.window.address_of(span.start()) };
        }
        if errno.0 != libc::EFAULT {
            return Error::CopyFailed { address: self.window.address_of(span.start()), call, errno };
        }
        let mut pages = span.cut_at_multiples(self.window.page_size()).map(Span::start);
        let missing = pages.find(|start| open.backend.read(*start, &mut [0]).is_err());
        let address = self.window.address_of(missing.unwrap_or(span.start()));
        // Pages that can be read, and yet not be written: the file is long enough.
        let why = missing.map_or(NoPage::NotSupplied, |start| self.why_no_page(open, start));
        Error::NoPage { address, why }
    }

    /// Why the page of the byte at `offset`, which a mapping holds, can't be read.
    pub(super) fn why_no_page(&self, open: &Open, offset: WindowOffset) -> NoPage {
        let page = offset.0.wrapping_sub(offset.0.checked_rem(self.window.page_size()).unwrap_or(0));
        let place_and_length = || {
            let mapping = open.book.at(offset)?;
            let place = mapping.file_offset.0.checked_add(page.checked_sub(mapping.span.start().0)?)?;
            let length = MappedFile::at(open.backend.host_address_at(offset)?)?.length(mapping.file)?;
            Some((place, length))
        };
        match place_and_length() {
            Some((place, length)) if place >= length => NoPage::PastEnd { length },
            Some(_) => NoPage::NotSupplied,
            None => NoPage::Unknown,
        }
    }
}

/// EACCES unless the guest may store to all of `span`, which mappings hold.
pub(super) fn check_writable(open: &Open, span: Span, address: GuestAddress) -> Result<()> {
    let readonly = covering(open, span).find(|mapping| !mapping.writable);
    readonly.map_or(Ok(()), |live| Err(Error::ReadOnlyMapping { address, live: live.span }))
}

/// The mappings that hold `span` from its start on, without a gap, as far as they do.
pub(super) fn covering(open: &Open, span: Span) -> impl Iterator<Item = &Mapping> {
    let mut next = span.start();
    std::iter::from_fn(move || {
        let mapping = (next < span.end()).then(|| open.book.at(next))??;
        next = mapping.span.end();
        Some(mapping)
    })
}
