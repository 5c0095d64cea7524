//! Memory of the window that is lent to the VMM's other devices: their buffers may lie in it.

use super::Mapper;
use super::access::{check_writable, covering};
use super::change::VMAS;
use crate::addr::{GuestAddress, Span};
use crate::backend::Hold;
use crate::budget::Charge;
use crate::error::{Error, Result};
use crate::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use crate::sync::{Mutex, MutexGuard, PoisonError};
use crate::sys::ForkGuard;
use std::mem;
use std::sync::Arc;

/// A part of what is lent, in one piece of host memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its first address in this process.
    pub host_address: usize,
    /// Its length in bytes.
    pub length: u64,
}

/// The ranges of a window that are lent.
#[derive(Debug, Default)]
pub(super) struct Lent {
    /// How many there are. Relaxed is enough. It rises under the mapper's lock, and is read under it. It falls without that
    /// lock: a reader that still sees the old number looks into `spans`, which has the truth.
    count: AtomicUsize,
    spans: Mutex<Vec<Span>>,
}

impl Lent {
    fn spans(&self) -> MutexGuard<'_, Vec<Span>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, span: Span) {
        let mut spans = self.spans();
        spans.push(span);
        self.count.store(spans.len(), Relaxed);
    }

    fn take_back(&self, span: Span) {
        let mut spans = self.spans();
        if let Some(index) = spans.iter().position(|lent| *lent == span) {
            spans.swap_remove(index);
        }
        self.count.store(spans.len(), Relaxed);
    }

    /// One that shares a byte with `span`. Looked at in each change, and hardly ever is there one.
    #[inline]
    fn overlapping(&self, span: Span) -> Option<Span> {
        if self.count.load(Relaxed) == 0 { None } else { self.find(span) }
    }

    #[cold]
    fn find(&self, span: Span) -> Option<Span> {
        self.spans().iter().copied().find(|lent| lent.overlaps(span))
    }
}

/// Memory of the window that a device may use, until this is dropped.
///
/// Meanwhile the mappings that hold it can't be changed, nor can anything be mapped in their ranges (EBUSY). A reset or a
/// drain takes them from the guest all the same, and from a host window: an access by system call is EFAULT then. But the
/// addresses are kept, so that no other memory is ever found there.
#[derive(Debug)]
#[must_use = "the memory is lent until this is dropped"]
pub struct Loan {
    pieces: Vec<Piece>,
    span: Option<Span>,
    lent: Arc<Lent>,
    holds: Vec<Hold>,
    /// For what is held: a mapping may be taken from the guest, and its own charge be given back, before the loan ends.
    charge: Charge,
    guard: ForkGuard,
}

impl Loan {
    /// The host memory, in the order of the guest's; pieces that touch are one.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if self.guard.is_child() {
            // A thread of the parent may have had the lock. What is held is the parent's.
            mem::forget(mem::take(&mut self.holds));
            mem::forget(mem::replace(&mut self.charge, Charge::of_process()));
        } else if let Some(span) = self.span {
            self.lent.take_back(span);
        }
    }
}

impl Mapper {
    /// Lends the `length` bytes of the window at guest physical address `address`, both of any alignment, to a device of
    /// the VMM's; `writable` if it stores there. Whether the host has the pages is not looked at: past the end of a file,
    /// a system call on them is EFAULT, and a load or store is SIGBUS.
    ///
    /// # Errors
    /// ENODEV (closed), EPERM (forked child), EFAULT (not in the window, or a hole), EACCES (`writable`, and a mapping is
    /// read-only), ENOTSUP (the guest's memory is not this process's), ENOSPC (budget: a loan counts like the mappings that
    /// it keeps).
    ///
    /// # Examples
    /// ```
    /// # mod doc { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/mapper.rs")); }
    /// # use {daxmap_core::*, doc::*};
    /// # let (mapper, file) = (mapper()?, file()?);
    /// # let (page, fd) = (mapper.page_size(), std::os::fd::AsRawFd::as_raw_fd(&file));
    /// mapper.setup(fd, &request(0, 2 * page), Overlap::Refuse)?;
    /// let loan = mapper.resolve(GuestAddress(BASE.0 + 100), page, false)?;
    /// assert_eq!(loan.pieces()[0].length, page); // of an iovec of preadv(2), say
    /// let refused = mapper.remove(WindowOffset(0), 2 * page).unwrap_err();
    /// assert!(matches!(refused, Error::Lent { .. }));
    /// drop(loan);
    /// mapper.remove(WindowOffset(0), 2 * page)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn resolve(&self, address: GuestAddress, length: u64, writable: bool) -> Result<Loan> {
        self.attempt("resolve", || {
            self.locked(|open| {
                let (lent, guard) = (Arc::clone(&self.lent), self.guard);
                let charge = Charge::of_process();
                let mut loan = Loan { pieces: Vec::new(), span: None, lent, holds: Vec::new(), charge, guard };
                let Some(span) = self.shown(open, address, length)? else { return Ok(loan) };
                if writable {
                    check_writable(open, span, address)?;
                }
                loan.holds = open.backend.hold(span).ok_or(Error::Elsewhere { address })?;
                if !loan.charge.try_grow(loan.holds.len() as u64) {
                    return Err(Error::OverBudget { limit: loan.charge.limit(), unit: VMAS });
                }
                let mut mappings = span; // whole ones: cutting one would change the rest too, if only for a moment
                for mapping in covering(open, span) {
                    let part = mapping.span.intersection(span).unwrap_or(mapping.span);
                    let host_address =
                        open.backend.host_address_at(part.start()).ok_or(Error::Elsewhere { address })?;
                    join(&mut loan.pieces, Piece { host_address, length: part.length() });
                    mappings = mappings.hull(mapping.span);
                }
                self.lent.add(mappings);
                loan.span = Some(mappings);
                Ok(loan)
            })
        })
    }

    pub(super) fn is_lent(&self, span: Span) -> bool {
        self.lent.overlapping(span).is_some()
    }

    /// EBUSY for a change of a range that is lent; EPERM in a forked child.
    #[inline]
    pub(super) fn refuse_lent(&self, asked: Span) -> Result<()> {
        self.not_in_child()?;
        self.lent.overlapping(asked).map_or(Ok(()), |lent| Err(Error::Lent { asked, lent }))
    }
}

/// Adds a piece to the end, or to the last one where it touches that.
fn join(pieces: &mut Vec<Piece>, next: Piece) {
    if let Some(last) = pieces.last_mut()
        && usize::try_from(last.length).ok().and_then(|length| last.host_address.checked_add(length))
            == Some(next.host_address)
    {
        last.length = last.length.saturating_add(next.length);
    } else {
        pieces.push(next);
    }
}
