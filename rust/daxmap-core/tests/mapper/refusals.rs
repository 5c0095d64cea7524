//! What is refused before anything is touched, and by which errno.

use crate::fixture::{BASE, Numbered, end, mapper};
use daxmap_core::{
    FileOffset, GuestAddress, HostWindowBackend, MapRequest, Mapper, OpenError, Options, Overlap, WindowOffset,
    page_size,
};
use std::fs::File;
use std::os::fd::AsRawFd;

#[test]
fn requests_that_no_file_could_meet() {
    let case = mapper(Options { readonly: true, ..Options::default() });
    let (mapper, file, page) = (&case.0, Numbered::new(page_size()), page_size());
    let most = i64::MAX.unsigned_abs() - (page - 1);
    for (file_offset, window_offset, length, writable, errno) in [
        (1, 0, page, false, libc::EINVAL),
        (0, 1, page, false, libc::EINVAL),
        (0, 0, page + 1, false, libc::EINVAL),
        (0, 0, 0, false, libc::EINVAL),
        (0, 15 * page, 2 * page, false, libc::EINVAL),
        (most, 0, page, false, libc::EINVAL),
        (0, 0, page, true, libc::EROFS),
        (most - page, 0, page, false, 0),
    ] {
        let (file_offset, window_offset) = (FileOffset(file_offset), WindowOffset(window_offset));
        let request = MapRequest { file_offset, window_offset, length, writable };
        let told = |answer: daxmap_core::Result<()>| answer.map_or_else(|error| error.errno().0, |()| 0);
        let set_up = || mapper.setup(file.file.as_raw_fd(), &request, Overlap::Refuse);
        assert_eq!((told(mapper.check(&request)), told(set_up())), (errno, errno), "{request:?}");
    }
    end(case);
}

#[test]
fn whole_files_that_cannot_be_mapped() {
    let case = mapper(Options { readonly: true, ..Options::default() });
    let (mapper, file, empty) = (&case.0, Numbered::new(2 * page_size()), Numbered::new(0));
    let errno = |file: &File, window_offset: u64, writable: bool| {
        let answer = mapper.map_file(file.as_raw_fd(), WindowOffset(window_offset), writable, Overlap::Refuse);
        answer.unwrap_err().errno().0
    };
    assert_eq!(errno(&empty.file, 0, false), libc::EINVAL);
    assert_eq!(errno(&file.file, 1, false), libc::EINVAL);
    assert_eq!(errno(&file.file, 15 * page_size(), false), libc::EINVAL);
    assert_eq!(errno(&file.file, 0, true), libc::EROFS);
    assert_eq!(errno(&File::open("/").unwrap(), 0, false), libc::ENODEV);
    assert_eq!(
        mapper.map_file(file.file.as_raw_fd(), WindowOffset(0), false, Overlap::Refuse).unwrap(),
        2 * page_size()
    );
    assert_eq!(errno(&file.file, page_size(), false), libc::EEXIST);
    assert_eq!(mapper.remove(WindowOffset(0), page_size()).unwrap_err().errno().0, libc::EINVAL, "half of it");
    assert_eq!(mapper.remove(WindowOffset(page_size()), page_size()).unwrap_err().errno().0, libc::ENOENT);
    assert_eq!(mapper.live_mappings(), 1);
    end(case);
}

#[test]
fn mappers_that_could_map_nothing() {
    let window = HostWindowBackend::new().unwrap();
    let options = Options { max_mappings: Some(0), ..Options::default() };
    let refused = Mapper::new(GuestAddress(BASE), 2 << 20, options, |of| window.attach(of));
    assert!(matches!(refused, Err(OpenError::Invalid(text)) if text.starts_with("max_mappings is 0: ")));
}
