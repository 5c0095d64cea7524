//! Looking at the window: who owns what, and the VMM's own reads and writes.

use super::{Mapper, Open};
use crate::addr::{GuestAddress, Span, WindowOffset};
use crate::book::Mapping;
use crate::error::{Error, Result};
use crate::sys::Errno;

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

    fn look<T: Default>(&self, at: impl FnOnce(&Open) -> T) -> Result<T> {
        match self.gate() {
            Err(Error::Closed) => return Ok(T::default()),
            gate => gate?,
        }
        Ok(self.lock()?.as_ref().map(at).unwrap_or_default())
    }

    /// Copies `length` bytes out of the window, from guest physical address `address`, both of any alignment. Pages are
    /// read in as needed, with the mapper's lock held.
    ///
    /// # Errors
    /// ENODEV (closed), EPERM (forked child), EFAULT (a hole, a page past the end of a truncated file, or an address
    /// outside the window: never a signal), ENOMEM (no memory for so many bytes).
    pub fn read(&self, address: GuestAddress, length: u64) -> Result<Vec<u8>> {
        self.attempt("read", || {
            self.locked(|open| {
                let mut buffer = Vec::new();
                let Some(span) = self.shown(open, address, length)? else { return Ok(buffer) };
                let size = usize::try_from(length).unwrap_or(usize::MAX);
                let reserved = buffer.try_reserve_exact(size);
                reserved.map_err(|_| Error::CopyFailed { address, errno: Errno(libc::ENOMEM) })?;
                buffer.resize(size, 0);
                let copied = open.backend.read(span.start(), &mut buffer);
                copied.map_err(|errno| copy_error(address, length, errno))?;
                Ok(buffer)
            })
        })
    }

    /// Copies `data` into the window, and so into the files, at guest physical address `address` of any alignment. The
    /// range is checked first; bytes before a page past the end of a truncated file may have been written all the same.
    ///
    /// # Errors
    /// As [`Mapper::read`], and EACCES where a mapping is read-only.
    pub fn write(&self, address: GuestAddress, data: &[u8]) -> Result<()> {
        let length = data.len() as u64;
        self.attempt("write", || {
            self.locked(|open| {
                let Some(span) = self.shown(open, address, length)? else { return Ok(()) };
                if let Some(live) = covering(open, span).find(|mapping| !mapping.writable) {
                    return Err(Error::ReadOnlyMapping { address, live: live.span });
                }
                let copied = open.backend.write(span.start(), data);
                copied.map_err(|errno| copy_error(address, length, errno))
            })
        })
    }

    /// The range of an access, if it is not empty and mappings hold all of it.
    fn shown(&self, open: &Open, address: GuestAddress, length: u64) -> Result<Option<Span>> {
        if length == 0 {
            return Ok(None);
        }
        let shown = self.window.span_at(address, length).filter(|span| {
            let reached = covering(open, *span).last().map_or(span.start(), |mapping| mapping.span.end());
            reached >= span.end()
        });
        shown.map(Some).ok_or(Error::Fault { address, length })
    }
}

/// The mappings that hold `span` from its start on, without a gap, as far as they do.
fn covering(open: &Open, span: Span) -> impl Iterator<Item = &Mapping> {
    let mut next = span.start();
    std::iter::from_fn(move || {
        let mapping = (next < span.end()).then(|| open.book.at(next))??;
        next = mapping.span.end();
        Some(mapping)
    })
}

fn copy_error(address: GuestAddress, length: u64, errno: Errno) -> Error {
    if errno.0 == libc::EFAULT { Error::Fault { address, length } } else { Error::CopyFailed { address, errno } }
}
