//! What `Mapper::resolve` lends.

use crate::fixture::{Numbered, address, end, mapper};
use daxmap_core::{Error, Options, Overlap, Piece, WindowOffset, page_size};
use std::os::fd::AsRawFd;

#[test]
fn pieces_that_touch_are_one() {
    let case = mapper(Options::default());
    let (mapper, file, page) = (&case.0, Numbered::new(4 * page_size()), page_size());
    file.show(mapper, 0, 2, 1, false);
    file.show(mapper, 2, 3, 2, false);
    let loan = mapper.resolve(address(2, 10), 2 * page, false).unwrap();
    let host_address = mapper.host_address().unwrap() + usize::try_from(2 * page + 10).unwrap();
    assert_eq!(loan.pieces(), [Piece { host_address, length: 2 * page }]);
    assert!(mapper.resolve(address(2, 0), 0, false).unwrap().pieces().is_empty());
    drop(loan);
    end(case);
}

#[test]
fn whole_mappings_are_lent_and_no_others() {
    let case = mapper(Options::default());
    let (mapper, file, page) = (&case.0, Numbered::new(4 * page_size()), page_size());
    file.show(mapper, 0, 1, 1, false);
    file.show(mapper, 0, 2, 4, false);
    file.show(mapper, 0, 6, 1, false);
    let remove = |at: u64, pages: u64| mapper.remove_range(WindowOffset(at * page), pages * page);
    let loan = mapper.resolve(address(3, 0), 1, false).unwrap();
    let again = mapper.resolve(address(3, 0), 1, false).unwrap();
    for at in [2, 5] {
        assert!(matches!(remove(at, 1), Err(Error::Lent { .. })));
    }
    for at in [1, 6] {
        remove(at, 1).unwrap();
    }
    drop(loan);
    assert_eq!(remove(2, 1).unwrap_err().errno().0, libc::EBUSY, "it was lent twice");
    drop(again);
    remove(2, 4).unwrap();
    end(case);
}

#[test]
fn what_cannot_be_lent() {
    let options = Options { max_mappings: Some(100), ..Options::default() };
    let case = mapper(options);
    let (mapper, file) = (&case.0, Numbered::new(2 * page_size()));
    file.show(mapper, 0, 2, 1, true);
    file.show(mapper, 1, 3, 1, false);
    let errno = |at: u64, pages: u64, writable: bool| {
        mapper.resolve(address(at, 0), pages * page_size(), writable).unwrap_err().errno().0
    };
    assert_eq!(errno(1, 2, false), libc::EFAULT, "it begins in a hole");
    assert_eq!(errno(3, 2, false), libc::EFAULT, "it ends in one");
    assert_eq!(errno(15, 2, false), libc::EFAULT, "it leaves the window");
    assert_eq!(errno(2, 2, true), libc::EACCES);
    drop(mapper.resolve(address(2, 0), page_size(), true).unwrap());
    mapper.remove_all().unwrap();
    end(case);
}

#[test]
fn what_is_lent_outlives_a_reset() {
    let case = mapper(Options::default());
    let (mapper, file) = (&case.0, Numbered::new(page_size()));
    file.show(mapper, 0, 2, 1, false);
    let loan = mapper.resolve(address(2, 0), 1, false).unwrap();
    mapper.reset().unwrap();
    assert_eq!(mapper.live_mappings(), 0);
    let again = || mapper.map_file(file.file.as_raw_fd(), WindowOffset(2 * page_size()), false, Overlap::Refuse);
    assert!(matches!(again(), Err(Error::Lent { .. })), "the device still has the address");
    drop(loan);
    assert_eq!(again().unwrap(), page_size());
    end(case);
}

#[test]
fn the_addresses_outlive_the_window() {
    let (mapper, window) = mapper(Options::default());
    let file = Numbered::new(page_size());
    file.show(&mapper, 0, 0, 1, false);
    let loan = mapper.resolve(address(0, 0), 1, false).unwrap();
    let start = format!("{:x}-", mapper.host_address().unwrap());
    let reserved = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().any(|vma| vma.starts_with(&start));
    mapper.drain_all().unwrap();
    window.release().unwrap();
    assert!(reserved());
    drop(loan);
    assert!(!reserved());
}
