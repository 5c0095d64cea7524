//! SETUPMAPPING: which files a guest may map, and by which descriptor.

use crate::client::requests::*;
use crate::client::{ROOT, Request};
use crate::served::{Directory, Mapped, OPTIONS};
use daxmap_core::{GuestAddress, Span, WindowOffset, page_size};
use daxmap_virtiofs::Options;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

/// The first byte of the window.
fn shown(mapped: &Mapped) -> u8 {
    mapped.mapper.read(GuestAddress(0), 1).unwrap()[0]
}

#[test]
fn nothing_of_a_read_only_share_is_mapped_to_be_written() {
    let directory = Directory::new("readonly-dax");
    directory.write("file", "x");
    let options = Options { readonly: true, ..OPTIONS };
    let mapped = directory.mapped(options); // and its mapper would
    let guest = &mapped.guest;
    let node = guest.look_up(ROOT, "file");
    assert_eq!(guest.errno(&map(node, true, 0)), libc::EROFS);
    assert_eq!(mapped.mapper.live_mappings(), 0);
    assert!(format!("{:?}", guest.0).contains(&format!("{options:?}")));
    guest.get(&map(node, false, 0));
    assert_eq!((guest.errno(&map(node, true, 0)), shown(&mapped)), (libc::EROFS, b'x'));
}

#[test]
fn only_regular_files_are_mapped() {
    let directory = Directory::new("regular");
    std::fs::create_dir(directory.path("inner")).unwrap();
    std::os::unix::fs::symlink("inner", directory.path("link")).unwrap();
    directory.write("file", "x");
    directory.write("other", "y");
    let mapped = directory.mapped(OPTIONS);
    let guest = &mapped.guest;
    let node = |name| guest.look_up(ROOT, name);
    assert_eq!(["inner", "link"].map(|name| guest.errno(&map(node(name), false, 0))), [libc::ENODEV; 2]);
    assert_eq!(guest.errno(&map(99, false, 0)), libc::EBADF);
    let fh = guest.open(node("file"), libc::O_RDONLY);
    assert_eq!(guest.errno(&map_by(node("other"), fh, false, 0)), libc::EBADF, "of another inode");
    assert_eq!(guest.errno(&map_by(node("file"), fh, true, 0)), libc::EACCES, "it is open to be read");
    guest.get(&map_by(node("file"), fh, false, 0));
    assert_eq!(shown(&mapped), b'x');
    guest.get(&map(node("other"), true, 0));
    assert_eq!(shown(&mapped), b'y');
    let all = Request::new(49, 0).words(&[1]).longs(&[0, u64::MAX]);
    guest.get(&all);
    assert_eq!(mapped.mapper.live_mappings(), 0);
}

/// What root may do is what these let it.
fn without_rights() {
    let all = capabilities(None).unwrap();
    let overriding = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
    let effective = all.effective & !overriding;
    set_capabilities(None, rustix::thread::CapabilitySets { effective, ..all }).unwrap();
}

/// Its handle is what a guest's program has that opened the file in time, as on any Linux.
#[test]
fn a_file_that_may_be_opened_no_more_is_mapped_by_what_the_guest_has_open() {
    let directory = Directory::new("no-more");
    let path = directory.write("file", "x");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            without_rights(); // of this thread
            let mapped = directory.mapped(OPTIONS);
            let guest = &mapped.guest;
            let node = guest.look_up(ROOT, "file");
            let open = |flags| guest.open(node, flags);
            let [write_only, read_only] = [open(libc::O_WRONLY), open(libc::O_RDONLY)];
            let both = open(libc::O_RDWR);
            std::fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
            let map = |writable| {
                let errno = guest.errno(&map(node, writable, 0));
                let page = Span::new(WindowOffset(0), page_size()).unwrap();
                (errno, mapped.mapper.survey().unwrap().iter().any(|live| live.mapping.span == page))
            };
            let close = |fh| guest.get(&release(node, fh));
            assert_eq!(map(true), (0, true));
            mapped.mapper.remove_all().unwrap();
            assert_eq!(map(false), (0, true));
            mapped.mapper.remove_all().unwrap();
            close(both);
            assert_eq!(map(true), (libc::EACCES, false), "neither fits: one can't be read, one can't be written");
            assert_eq!(map(false), (0, true));
            mapped.mapper.remove_all().unwrap();
            close(read_only);
            assert_eq!(map(false), (libc::EACCES, false));
            close(write_only);
        });
    });
}
