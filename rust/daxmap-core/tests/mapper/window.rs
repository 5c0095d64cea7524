//! The VMM's handle of a host window, through its life.

use crate::fixture::{BASE, Numbered, address, end, mapper};
use daxmap_core::{
    Error, GuestAddress, HostWindowBackend, Mapper, OpenError, Options, Overlap, WindowOffset, page_size,
};
use std::os::fd::AsRawFd;

fn told(window: &HostWindowBackend) -> (String, bool, bool) {
    (window.to_string(), window.is_in_use(), window.is_releasable())
}

#[test]
fn it_tells_where_it_is_in_its_life() {
    let (mapper, window) = mapper(Options::default());
    assert_eq!(told(&window), ("in use".to_owned(), true, true));
    assert!(matches!(window.release(), Err(Error::WindowInUse)));
    let address = mapper.host_address().unwrap();
    mapper.drain_all().unwrap();
    assert_eq!(told(&window), (format!("drained, addresses at {address:#x} reserved"), false, true));
    window.release().unwrap();
    assert_eq!(told(&window), ("released".to_owned(), false, false));
    window.release().unwrap();
    assert!(!window.in_forked_child());
    let fresh = HostWindowBackend::new().unwrap();
    assert_eq!(told(&fresh), ("without a mapper".to_owned(), false, false));
}

#[test]
fn it_serves_one_mapper_of_a_size_that_a_process_can_have() {
    let window = HostWindowBackend::new().unwrap();
    let attach =
        |size: u64| Mapper::new(GuestAddress(BASE), size, Options::default(), |of| window.attach(of)).map(drop);
    let text = |size: u64| attach(size).unwrap_err().to_string();
    let most: u64 = 1 << if cfg!(target_arch = "x86_64") { 47 } else { 48 };
    assert_eq!(text(most), format!("window size {most:#x} is larger than a process's address space"));
    assert!(text(most - (2 << 20)).ends_with("leaves no room: take a smaller window"));
    attach(2 << 20).unwrap();
    assert!(matches!(attach(2 << 20), Err(OpenError::Invalid(_))));
    window.release().unwrap();
}

#[test]
fn a_file_that_the_kernel_refuses_late_takes_nothing_away() {
    let case = mapper(Options::default());
    let (mapper, file) = (&case.0, Numbered::new(page_size()));
    file.show(mapper, 0, 2, 1, false);
    // sysfs says no when the kernel has removed already what was there.
    if let Ok(of_sysfs) = std::fs::File::open("/sys/kernel/mm/transparent_hugepage/enabled") {
        let answer = mapper.map_file(of_sysfs.as_raw_fd(), WindowOffset(2 * page_size()), false, Overlap::Replace);
        assert_eq!(answer.unwrap_err().errno().0, libc::ENODEV);
    }
    assert_eq!((mapper.read(address(2, 0), 1).unwrap(), mapper.stats().lost_count), (vec![0], 0));
    end(case);
}
