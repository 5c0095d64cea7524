//! The VMM's own reads and writes: why one fails, and where.

use crate::fixture::{Numbered, address, end, mapper};
use crate::told;
use daxmap_core::{Errno, Error, GuestAddress, NoPage, Options, page_size};

#[test]
fn the_first_page_that_is_missing_is_named() {
    let case = mapper(Options::default());
    let (mapper, file, page) = (&case.0, Numbered::new(3 * page_size()), page_size());
    file.show(mapper, 0, 2, 3, true);
    assert_eq!(mapper.read(address(3, page - 1), 2).unwrap(), [1, 2]);
    file.file.set_len(page).unwrap();
    let no_page = |error: Error| match error {
        Error::NoPage { address, why } => (address, why),
        other => panic!("{other:?}"),
    };
    let past_end = (address(3, 0), NoPage::PastEnd { length: page });
    assert_eq!(no_page(mapper.read(address(2, 5), 3 * page - 5).unwrap_err()), past_end);
    assert_eq!(
        no_page(mapper.write(address(2, 5), &vec![7; usize::try_from(2 * page).unwrap()]).unwrap_err()),
        past_end
    );
    assert_eq!(no_page(mapper.read(address(4, 9), 1).unwrap_err()).0, address(4, 9));
    end(case);
}

#[test]
fn the_first_byte_of_a_hole_is_named() {
    let case = mapper(Options::default());
    let (mapper, file, page) = (&case.0, Numbered::new(3 * page_size()), page_size());
    file.show(mapper, 0, 2, 1, true);
    file.show(mapper, 1, 3, 1, false);
    let hole = |from: GuestAddress, length: u64| match mapper.read(from, length).unwrap_err() {
        Error::Hole { hole, .. } => hole,
        other => panic!("{other:?}"),
    };
    assert_eq!(hole(address(1, 8), 1), address(1, 8));
    assert_eq!(hole(address(2, 8), 2 * page), address(4, 0));
    mapper.write(address(2, 0), b"x").unwrap();
    let read_only = mapper.write(address(2, page - 1), b"xy").unwrap_err();
    assert!(matches!(read_only, Error::ReadOnlyMapping { .. }));
    assert_eq!(mapper.read(address(2, 0), 1).unwrap(), b"x");
    assert_eq!(mapper.read(address(2, page - 1), 2).unwrap(), [0, 1], "nothing of it was written");
    end(case);
}

#[test]
fn what_the_host_says_of_a_copy_is_told() {
    let (mapper, told) = told::mapper("", Options::default());
    Numbered::new(page_size()).show(&mapper, 0, 3, 1, true);
    let read = |errno: i32| {
        told.0.lock().unwrap().copy = errno;
        mapper.read(address(3, 1), 1)
    };
    assert_eq!(mapper.host_address(), None);
    assert_eq!(read(0).unwrap(), [0]);
    let at = address(3, 1);
    assert!(matches!(read(libc::ENOTSUP), Err(Error::Elsewhere { address }) if address == at));
    let refused = read(libc::EPERM);
    assert!(matches!(refused, Err(Error::CopyFailed { address, errno: Errno(libc::EPERM), .. }) if address == at));
    let unknown = Error::NoPage { address: at, why: NoPage::Unknown }.to_string();
    assert_eq!(read(libc::EFAULT).unwrap_err().to_string(), unknown);
    assert_eq!(mapper.write(at, b"x").unwrap_err().to_string(), unknown);
    mapper.drain_all().unwrap();
}
