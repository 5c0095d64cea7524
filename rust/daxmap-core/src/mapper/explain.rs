//! In words, what the guest finds at an address: for the person whose `KVM_RUN` said EFAULT.

use super::access::covering;
use super::{Mapper, Open};
use crate::addr::{GuestAddress, Span, WindowOffset};
use crate::book::Mapping;
use crate::error::{Error, Result};
use crate::records::printable;
use crate::sys::MappedFile;

impl Mapper {
    /// What the guest finds at guest physical address `address`, and so why an access there was refused: an address outside
    /// the window, a hole, a read-only mapping, a page past the end of its file, or nothing that refuses it. In one line,
    /// made for people; the names of files that are in it may be a guest's, and are made fit for a log.
    ///
    /// # Errors
    /// EPERM in a forked child, EDEADLK in a callback of this mapper.
    ///
    /// # Examples
    /// ```
    /// # mod doc { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/mapper.rs")); }
    /// # use {daxmap_core::*, doc::*};
    /// # let (mapper, file) = (mapper()?, file()?);
    /// # let (page, fd) = (mapper.page_size(), std::os::fd::AsRawFd::as_raw_fd(&file));
    /// mapper.setup(fd, &request(0, page), Overlap::Refuse)?;
    /// assert!(mapper.explain(BASE)?.ends_with("loads reach it, stores are refused"));
    /// assert!(mapper.explain(GuestAddress(BASE.0 + page))?.contains("a hole at window offset"));
    /// assert!(mapper.explain(GuestAddress(0))?.contains("is outside the window"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn explain(&self, address: GuestAddress) -> Result<String> {
        let (base, size) = (self.window.base(), self.window.size());
        let Some(byte) = self.window.span_at(address, 1) else {
            let last = self.window.address_of(WindowOffset(size.wrapping_sub(1))); // never empty
            let hint = if address.0 < size {
                let as_offset = self.window.address_of(WindowOffset(address.0));
                format!("; a window offset of {address} is at {as_offset}")
            } else {
                String::new()
            };
            return Ok(format!("{address} is outside the window, which is {base} to {last}{hint}"));
        };
        match self.gate() {
            Err(Error::Closed) => {}
            gate => gate?,
        }
        let told = self.under_lock(|state| state.as_ref().map(|open| self.explain_in(open, address, byte)))?;
        Ok(told.unwrap_or_else(|| format!("{address} is in a window whose mapper is closed: nothing is shown there")))
    }

    fn explain_in(&self, open: &Open, address: GuestAddress, byte: Span) -> String {
        let offset = byte.start();
        let Some(mapping) = covering(open, byte).next() else {
            let lent = if self.is_lent(byte) { "; what was here is still lent to a device" } else { "" };
            return format!("{address} is {}{lent}", self.hole_at(open, offset));
        };
        let (file, page) = (file_of(open, mapping, offset), self.page_of(open, mapping, offset));
        let lent = if self.is_lent(byte) { "; it is lent to a device" } else { "" };
        format!("{address} is {file}: {page}{lent}")
    }

    /// What there is of its page.
    fn page_of(&self, open: &Open, mapping: &Mapping, offset: WindowOffset) -> String {
        match open.backend.read(offset, &mut [0]) {
            Ok(()) if mapping.writable => "loads and stores reach it".to_owned(),
            Ok(()) => "loads reach it, stores are refused".to_owned(),
            Err(errno) if errno.0 == libc::EFAULT => {
                format!("no access reaches it, {}", self.why_no_page(open, offset))
            }
            Err(errno) if errno.0 == libc::ENOTSUP => {
                "what its page holds is known to the VMM alone, which maps it".to_owned()
            }
            Err(errno) => format!("whether the host has its page can't be told: {errno}"),
        }
    }

    /// A hole, and what lies around it.
    fn hole_at(&self, open: &Open, offset: WindowOffset) -> String {
        let neighbour = |range: Option<Span>, last: bool| {
            let found = open.book.overlapping(range?);
            let mapping = if last { found.last() } else { found.first() };
            mapping.map(|mapping| mapping.span.to_string())
        };
        let before = neighbour(Span::new(WindowOffset(0), offset.0), true);
        let after = neighbour(Span::new(offset, self.window.size().saturating_sub(offset.0)), false);
        let around = match (before, after) {
            (None, None) => "nothing is mapped in the window".to_owned(),
            (Some(before), None) => format!("the mapping before it is {before}, none is after it"),
            (None, Some(after)) => format!("no mapping is before it, the next is {after}"),
            (Some(before), Some(after)) => format!("the mapping before it is {before}, the next is {after}"),
        };
        let unknown = match open.backend.unsettled() {
            0 => String::new(),
            count => format!("; of {count} ranges of the window it is unknown whether the guest still sees them"),
        };
        format!("a hole at window offset {offset}: {around}{unknown}")
    }
}

/// Which byte of which file it is, and by which mapping.
fn file_of(open: &Open, mapping: &Mapping, offset: WindowOffset) -> String {
    let Mapping { span, file_offset, file, writable } = *mapping;
    let access = if writable { "writable" } else { "read-only" };
    let place = file_offset.0.wrapping_add(offset.0.wrapping_sub(span.start().0)); // below 2**63
    let path = open.backend.host_address_at(offset).and_then(MappedFile::at).and_then(|file| file.path());
    let name = path.map_or_else(|| "a file".to_owned(), |path| printable(&path.to_string_lossy()));
    format!("byte {place:#x} of {name} (st_dev {}, st_ino {}), {access} mapping {span}", file.dev, file.ino)
}
