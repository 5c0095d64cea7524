//! Tests of what a forked child can do with what its parent made: nothing.

use crate::addr::{FileOffset, GuestAddress, WindowOffset};
use crate::sys::{holds_in_child, page_size, vm};
use crate::{Error, HostWindowBackend, KvmBackend, MapRequest, Mapper, OpenError, Options, Overlap, Window};
use every_call::every_call;
use std::fs::File;
use std::os::fd::AsRawFd;

#[path = "../tests/every_call/mod.rs"]
mod every_call;

const BASE: GuestAddress = GuestAddress(4 << 30);

fn mapper() -> (Mapper, HostWindowBackend, File) {
    let window = HostWindowBackend::new().unwrap();
    let mapper = Mapper::new(BASE, 2 << 20, Options::default(), |of| window.attach(of)).unwrap();
    let file = File::open(std::env::current_exe().unwrap()).unwrap();
    let (file_offset, window_offset) = (FileOffset(0), WindowOffset(0));
    let request = MapRequest { file_offset, window_offset, length: page_size(), writable: false };
    mapper.setup(file.as_raw_fd(), &request, Overlap::Refuse).unwrap();
    (mapper, window, file)
}

#[test]
fn every_call_of_a_mapper_is_refused() {
    let (mapper, window, file) = mapper();
    let fd = file.as_raw_fd();
    assert!(!mapper.in_forked_child());
    assert!(holds_in_child(|| {
        let answers = every_call(&mapper, fd);
        let refused = answers.iter().all(|answer| matches!(answer, Err(Error::Forked)));
        // The counters and the log are the parent's, too.
        refused && mapper.in_forked_child() && mapper.stats().errors.is_empty() && mapper.warnings().last().is_none()
    }));
    assert_eq!(mapper.read(BASE, 4).unwrap(), b"\x7fELF");
    mapper.drain_all().unwrap();
    window.release().unwrap();
}

#[test]
fn a_window_is_the_parents() {
    let (mapper, window, _file) = mapper();
    let fresh = HostWindowBackend::new().unwrap();
    let of = Window::new(BASE, 2 << 20).unwrap();
    assert!(!window.in_forked_child());
    assert!(holds_in_child(|| {
        let refused = matches!(fresh.attach(&of), Err(OpenError::Refused { errno, .. }) if errno.0 == libc::EPERM);
        let told = (window.to_string(), window.is_in_use(), window.is_releasable(), window.in_forked_child());
        let expected = ("of the process that forked this one".to_owned(), false, false, true);
        refused && told == expected && matches!(window.release(), Err(Error::Forked))
    }));
    mapper.drain_all().unwrap();
    assert!(holds_in_child(|| matches!(window.release(), Err(Error::Forked))));
    window.release().unwrap();
}

#[test]
fn a_memory_slot_is_the_parents() {
    let Some(vm) = vm() else { return };
    let slot = KvmBackend::new(vm.as_raw_fd(), 1).unwrap();
    let of = Window::new(BASE, 2 << 20).unwrap();
    assert!(holds_in_child(|| {
        let refused = slot.attach(&of, false);
        matches!(refused, Err(OpenError::Refused { errno, .. }) if errno.0 == libc::EPERM)
            && matches!(slot.start_dirty_log(), Err(Error::Forked))
    }));
    slot.start_dirty_log().unwrap();
    assert!(holds_in_child(|| {
        let own = KvmBackend::new(vm.as_raw_fd(), 2).unwrap().attach(&of, false);
        matches!(own, Err(OpenError::Refused { errno, remedy: Some(remedy), .. })
            if errno.0 == libc::EIO && remedy.starts_with("the VM belongs to another process"))
    }));
}

#[test]
fn what_a_child_drops_is_there_still() {
    let (mapper, window, _file) = mapper();
    let loan = mapper.resolve(BASE, 1, false).unwrap();
    let start = format!("{:x}-", loan.pieces()[0].host_address);
    let shown = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().any(|vma| vma.starts_with(&start));
    let mut mine = Some((loan, mapper, window));
    assert!(shown());
    assert!(holds_in_child(|| {
        drop(mine.take());
        shown()
    }));
    let (loan, mapper, window) = mine.unwrap();
    assert!(mapper.remove_all().is_err(), "it is lent still");
    drop(loan);
    mapper.drain_all().unwrap();
    assert!(holds_in_child(shown));
    window.release().unwrap();
    assert!(!shown());
}
