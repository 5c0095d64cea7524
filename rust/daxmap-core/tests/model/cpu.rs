//! The guest behind a hypervisor.

use super::guest::{Guest, Origin};
use super::requests::BASE;
use daxmap_core::{Access, GuestAddress, HostSlice, Hypervisor, Refusal};

#[derive(Debug)]
pub(crate) struct Cpu {
    pub(crate) guest: Guest,
    pub(crate) can_protect: bool,
}

fn range(at: GuestAddress, length: u64) -> (u64, u64) {
    (at.0 - BASE, at.0 - BASE + length)
}

impl Hypervisor for Cpu {
    fn map(&mut self, memory: HostSlice<'_>, at: GuestAddress, access: Access) -> Result<(), Refusal> {
        let (start, length) = (memory.start() as u64, memory.length() as u64);
        let writable = access == Access::ReadWriteExecute;
        self.guest.map(range(at, length), writable, |skipped| Origin::Memory(start + skipped))
    }

    fn unmap(&mut self, at: GuestAddress, length: u64) -> Result<(), Refusal> {
        self.guest.unmap(range(at, length))
    }

    fn protect(&mut self, at: GuestAddress, length: u64, access: Access) -> Option<Result<(), Refusal>> {
        self.can_protect.then(|| self.guest.protect(range(at, length), access == Access::ReadWriteExecute))
    }
}
