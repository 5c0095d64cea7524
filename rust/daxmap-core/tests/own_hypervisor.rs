//! A hypervisor of one's own, as CONTRIBUTING.md shows it.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, missing_docs)]

use daxmap_core::{
    Access, FileOffset, GuestAddress, HostSlice, Hypervisor, HypervisorBackend, MapRequest, Mapper, Options, Overlap,
    Refusal, WindowOffset,
};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, PoisonError};

/// The memory of an emulated guest: host address and access by guest address. Its CPU has a clone.
#[derive(Clone, Debug, Default)]
struct SoftMemory {
    ranges: Arc<Mutex<BTreeMap<u64, (usize, Access)>>>,
}

impl SoftMemory {
    fn with<T>(&self, call: impl FnOnce(&mut BTreeMap<u64, (usize, Access)>) -> T) -> T {
        call(&mut self.ranges.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Hypervisor for SoftMemory {
    fn map(&mut self, memory: HostSlice<'_>, guest: GuestAddress, access: Access) -> Result<(), Refusal> {
        self.with(|ranges| ranges.insert(guest.0, (memory.start(), access)));
        Ok(())
    }

    fn unmap(&mut self, guest: GuestAddress, _length: u64) -> Result<(), Refusal> {
        let removed = self.with(|ranges| ranges.remove(&guest.0));
        removed.map(drop).ok_or_else(|| Refusal::io(format!("nothing is at {guest}")))
    }

    fn protect(&mut self, guest: GuestAddress, _length: u64, access: Access) -> Option<Result<(), Refusal>> {
        let known = self.with(|ranges| ranges.get_mut(&guest.0).map(|range| range.1 = access));
        Some(known.ok_or_else(|| Refusal::io(format!("nothing is at {guest}"))))
    }
}

const BASE: GuestAddress = GuestAddress(1 << 32);

#[test]
fn is_asked_for_one_step_at_a_time() {
    let path = std::env::temp_dir().join(format!("daxmap-own-hypervisor-{}", std::process::id()));
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file.write_all(b"DAX!").unwrap();
    let memory = SoftMemory::default();
    let shown_at = |offset| memory.with(|ranges| ranges.get(&(BASE.0 + offset)).copied());
    let shown = || shown_at(0);

    let mapper = Mapper::new(BASE, 2 << 20, Options::default(), |window| {
        Ok(Box::new(HypervisorBackend::over(memory.clone(), window, false)))
    })
    .unwrap();
    let page = mapper.page_size();
    let (file_offset, window_offset) = (FileOffset(0), WindowOffset(0));
    let set_up = |writable| {
        let request = MapRequest { file_offset, window_offset, length: page, writable };
        mapper.setup(file.as_raw_fd(), &request, Overlap::Refuse)
    };

    set_up(false).unwrap();
    let (address, access) = shown().unwrap();
    assert_eq!(access, Access::ReadExecute);
    assert_eq!(mapper.read(BASE, 4).unwrap(), b"DAX!");
    set_up(true).unwrap();
    assert_eq!(shown(), Some((address, Access::ReadWriteExecute)), "the same memory: `protect` was called");
    mapper.remove(WindowOffset(0), page).unwrap();
    assert_eq!(shown(), None);

    let three_pages = MapRequest { file_offset, window_offset, length: 3 * page, writable: true };
    mapper.setup(file.as_raw_fd(), &three_pages, Overlap::Refuse).unwrap();
    let (address, access) = shown().unwrap();
    mapper.remove_range(WindowOffset(page), page).unwrap();
    let last = (address + usize::try_from(2 * page).unwrap(), access);
    assert_eq!((shown(), shown_at(page), shown_at(2 * page)), (Some((address, access)), None, Some(last)), "a cut");
    mapper.remove_all().unwrap();

    set_up(true).unwrap();
    memory.with(BTreeMap::clear);
    assert_eq!(mapper.remove(WindowOffset(0), page).unwrap_err().errno().0, libc::EIO, "the refusal is passed on");
    mapper.drain_all().unwrap();
    assert_eq!(mapper.stats().leaked_count, 1);
}
