//! A hypervisor that maps host memory wherever it is told to: Hypervisor.framework, or a VMM's own CPU.

use super::{Backend, Failure, Placement};
use crate::addr::{GuestAddress, Span, WindowOffset};
use crate::refusal::Refusal;
use crate::sys::{Errno, FileRange, HostRange, is_read_write};
use crate::table::Mapping;
use crate::window::Window;
use std::collections::BTreeMap;
use std::fmt::Debug;

/// What a guest may do with memory.
///
/// FUSE carries no execute flag, yet guests run programs from their shares: so what can be read can be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Load and execute.
    ReadExecute,
    /// Load, store and execute.
    ReadWriteExecute,
}

impl Access {
    fn new(writable: bool) -> Self {
        if writable { Self::ReadWriteExecute } else { Self::ReadExecute }
    }

    /// As hypervisors write it: read 1, write 2, execute 4.
    #[must_use]
    pub fn bits(self) -> u8 {
        match self {
            Self::ReadExecute => 1 | 4,
            Self::ReadWriteExecute => 1 | 2 | 4,
        }
    }
}

/// The calls of a hypervisor. Each is one step: what it refuses it has not done.
pub trait Hypervisor: Debug + Send {
    /// Shows `memory` at `guest`, which is unused. It stays valid until `unmap` has succeeded.
    ///
    /// # Errors
    /// A [`Refusal`]: the guest does not reach the memory.
    fn map(&mut self, memory: &HostRange, guest: GuestAddress, access: Access) -> Result<(), Refusal>;

    /// Takes `[guest, +length)` from the guest, which one `map` gave it.
    ///
    /// # Errors
    /// A [`Refusal`]: the guest may still reach it.
    fn unmap(&mut self, guest: GuestAddress, length: u64) -> Result<(), Refusal>;

    /// Changes what the guest may do with `[guest, +length)`, which one `map` gave it; `None` where the hypervisor has
    /// no such call.
    ///
    /// # Errors
    /// A [`Refusal`]: the access is the old one.
    fn protect(&mut self, guest: GuestAddress, length: u64, access: Access) -> Option<Result<(), Refusal>>;
}

/// Host memory that shows a range of a file.
#[derive(Debug)]
struct HostMemory {
    range: HostRange,
    /// Whether stores reach the file.
    shared: bool,
}

/// The backend over a [`Hypervisor`]: `mmap`, then `map`; undone in reverse order.
///
/// The host side is always readable and writable, since Apple silicon wants a writable host address. So that a
/// read-only request never reaches the file, its memory is private where the file may not be written anyway; where it
/// may, it is shared, so that the upgrade is one `protect`, without a gap.
#[derive(Debug)]
pub struct HypervisorBackend<H> {
    hypervisor: H,
    base: GuestAddress,
    /// Nothing is ever written through this window.
    readonly: bool,
    /// What each mapping's start shows. A second book beside the mapper's, changed in the same calls: the mapper's knows
    /// nothing of host addresses.
    memory: BTreeMap<u64, HostMemory>,
}

impl<H: Hypervisor> HypervisorBackend<H> {
    /// A backend for `window`; `readonly` is that of the mapper.
    pub fn new(hypervisor: H, window: &Window, readonly: bool) -> Self {
        Self { hypervisor, base: window.base(), readonly, memory: BTreeMap::new() }
    }

    fn guest(&self, span: Span) -> GuestAddress {
        GuestAddress(self.base.0.wrapping_add(span.start().0)) // `Window::new` made sure that this doesn't wrap
    }

    fn host_memory(&self, placement: &Placement) -> Result<HostMemory, Errno> {
        let file = FileRange {
            fd: placement.fd,
            offset: placement.file_offset.0,
            length: usize::try_from(placement.span.length()).map_err(|_| Errno(libc::ENOMEM))?,
        };
        if placement.writable {
            return Ok(HostMemory { range: file.map(true)?, shared: true });
        }
        if !self.readonly && is_read_write(placement.fd) {
            // May still be refused: a sealed memfd, an append-only file.
            if let Ok(range) = file.map(true) {
                return Ok(HostMemory { range, shared: true });
            }
        }
        Ok(HostMemory { range: file.map(false)?, shared: false })
    }

    /// New memory in place of the old, which can't be written through; the guest loses the range for a moment.
    fn exchange(&mut self, placement: &Placement) -> Result<(), Failure> {
        let (guest, length) = (self.guest(placement.span), placement.span.length());
        let start = placement.span.start().0;
        let new = self.host_memory(placement).map_err(|errno| Failure::Refused(errno.into()))?;
        if let Err(refusal) = self.hypervisor.unmap(guest, length) {
            free(new);
            return Err(Failure::Refused(refusal));
        }
        let Err(refusal) = self.hypervisor.map(&new.range, guest, Access::ReadWriteExecute) else {
            self.memory.insert(start, new).into_iter().for_each(free);
            return Ok(());
        };
        free(new);
        let old = self.memory.get(&start);
        let back = old.map(|old| self.hypervisor.map(&old.range, guest, Access::ReadExecute));
        if let Some(Ok(())) = back {
            return Err(Failure::Refused(refusal));
        }
        // Unmapped, and neither map was taken: the guest surely lost it.
        self.memory.remove(&start).into_iter().for_each(free);
        Err(Failure::Emptied(refusal))
    }
}

impl<H: Hypervisor> Backend for HypervisorBackend<H> {
    fn map(&mut self, placement: &Placement) -> Result<(), Failure> {
        let memory = self.host_memory(placement).map_err(|errno| Failure::Refused(errno.into()))?;
        let (guest, access) = (self.guest(placement.span), Access::new(placement.writable));
        if let Err(refusal) = self.hypervisor.map(&memory.range, guest, access) {
            free(memory);
            return Err(Failure::Refused(refusal));
        }
        self.memory.insert(placement.span.start().0, memory);
        Ok(())
    }

    fn upgrade(&mut self, placement: &Placement) -> Result<(), Failure> {
        if !is_read_write(placement.fd) {
            return Err(Failure::Refused(Errno(libc::EACCES).into())); // what mmap would say
        }
        let shared = self.memory.get(&placement.span.start().0).is_some_and(|memory| memory.shared);
        if shared {
            let (guest, length) = (self.guest(placement.span), placement.span.length());
            if let Some(answer) = self.hypervisor.protect(guest, length, Access::ReadWriteExecute) {
                return answer.map_err(Failure::Refused);
            }
        }
        self.exchange(placement)
    }

    fn unmap(&mut self, span: Span, _mappings: &[Mapping]) -> Result<(), Failure> {
        self.hypervisor.unmap(self.guest(span), span.length()).map_err(Failure::Refused)?;
        let memory = self.memory.remove(&span.start().0);
        let freed = memory.map_or(Ok(()), |memory| memory.range.release());
        freed.map_err(|(_, errno)| Failure::Emptied(errno.into()))
    }

    fn host_address_at(&self, offset: WindowOffset) -> Option<usize> {
        let (memory, inside, _) = self.piece(offset.0, 1).ok()?;
        memory.range.start().checked_add(usize::try_from(inside).ok()?)
    }

    fn read(&self, offset: WindowOffset, buffer: &mut [u8]) -> Result<(), Errno> {
        let mut rest = buffer;
        let mut next = offset.0;
        while !rest.is_empty() {
            let (memory, inside, length) = self.piece(next, rest.len())?;
            let (piece, after) = rest.split_at_mut(length);
            memory.range.read(inside, piece)?;
            (rest, next) = (after, next.saturating_add(length as u64));
        }
        Ok(())
    }

    fn write(&self, offset: WindowOffset, data: &[u8]) -> Result<(), Errno> {
        let mut rest = data;
        let mut next = offset.0;
        while !rest.is_empty() {
            let (memory, inside, length) = self.piece(next, rest.len())?;
            let (piece, after) = rest.split_at(length);
            memory.range.write(inside, piece)?;
            (rest, next) = (after, next.saturating_add(length as u64));
        }
        Ok(())
    }
    // Nothing to close: what is still in the book the guest kept, and its memory stays, for the life of the process.
}

impl<H: Hypervisor> HypervisorBackend<H> {
    /// The memory that shows the byte at `offset`, the byte's offset in it, and how much of `wanted` it shows.
    fn piece(&self, offset: u64, wanted: usize) -> Result<(&HostMemory, u64, usize), Errno> {
        let fault = Errno(libc::EFAULT);
        let (start, memory) = self.memory.range(..=offset).next_back().ok_or(fault)?;
        let inside = offset.saturating_sub(*start);
        let left = usize::try_from(inside).ok().and_then(|inside| memory.range.length().checked_sub(inside));
        let length = left.filter(|left| *left > 0).ok_or(fault)?.min(wanted);
        Ok((memory, inside, length))
    }
}

/// Frees memory that the guest does not reach. Should the host refuse, a range of addresses is all that is lost, and
/// there is graver news to tell.
fn free(memory: HostMemory) {
    let _ = memory.range.release();
}
