//! How many descriptors a server has, and which.

use crate::client::requests::*;
use crate::client::{ROOT, long};
use crate::served::{Directory, OPTIONS};
use daxmap_virtiofs::{FileServer, Options};
use std::collections::BTreeMap;
use std::fs::read_link;
use std::path::PathBuf;

/// The descriptors of this process, and what each is of.
fn all() -> BTreeMap<String, PathBuf> {
    let numbers = std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().file_name());
    let names = numbers.map(|number| number.into_string().unwrap());
    names.filter_map(|number| Some((number.clone(), read_link(format!("/proc/self/fd/{number}")).ok()?))).collect()
}

/// How many of them lie in a directory, or are it.
fn count(directory: &Directory) -> usize {
    let within = directory.path(".").canonicalize().unwrap();
    all().values().filter(|path| path.starts_with(&within)).count()
}

#[test]
fn no_more_are_open_than_was_said() {
    let directory = Directory::new("limit");
    directory.write("file", "");
    let few = |most| Options { max_open: Some(most), ..OPTIONS };
    let refused = FileServer::new(&directory.path(""), None, &few(63)).unwrap_err().to_string();
    assert!(refused.starts_with("max_open is 63; a server needs 64"), "{refused}");
    let guest = directory.served(few(64));
    let node = guest.look_up(ROOT, "file");
    let opened: Vec<_> = (0..40).map(|_| guest.ask(&open(node, libc::O_RDONLY))).collect();
    let errnos: Vec<_> = opened.iter().map(|reply| reply.errno).collect();
    assert_eq!(errnos, [[0; 32].as_slice(), &[libc::ENFILE; 8]].concat(), "half of them");
    let made = create(ROOT, "new", libc::O_RDWR, 0o644, 0);
    for request in [&made, &opendir(ROOT), &open(node, libc::O_RDWR)] {
        assert_eq!(guest.errno(request), libc::ENFILE, "{request:?}");
    }
    assert!(!directory.path("new").exists(), "made, and not opened");
    let fh = long(&opened[5].body, 0);
    guest.get(&release(node, fh));
    assert_eq!(guest.errno(&read(node, fh, 0, 1)), libc::EBADF);
    let made = guest.get(&made);
    assert!(long(&made, 128) > 32, "a number that no file has had");
}

#[test]
fn none_is_left_when_the_guest_leaves() {
    let directory = Directory::new("left");
    for name in ["one", "two"] {
        directory.write(name, "content");
    }
    for leaves in [destroy(), init(7, 0)] {
        let mapped = directory.mapped(OPTIONS);
        let guest = &mapped.guest;
        let before = count(&directory);
        let [one, two] = ["one", "two"].map(|name| guest.look_up(ROOT, name));
        let fh = guest.open(one, libc::O_RDWR);
        guest.opendir(ROOT);
        guest.get(&map(one, true, 0));
        guest.get(&map(two, false, 1));
        assert_eq!(count(&directory), before + 6);
        guest.get(&leaves);
        assert_eq!((guest.0.known_inodes(), count(&directory)), (0, before));
        assert_eq!(mapped.mapper.live_mappings(), 0);
        assert_eq!(guest.errno(&read(one, fh, 0, 1)), libc::EBADF);
    }
}

#[test]
fn what_an_inode_is_mapped_by_is_closed_with_it() {
    let directory = Directory::new("mapped");
    directory.write("file", "content");
    let mapped = directory.mapped(OPTIONS);
    let guest = &mapped.guest;
    let before = count(&directory);
    let node = guest.look_up(ROOT, "file");
    for writable in [false, true] {
        guest.get(&map(node, writable, 0));
    }
    assert_eq!(count(&directory), before + 3);
    guest.get(&map(node, false, 1));
    assert_eq!(count(&directory), before + 3, "a file is opened once for each access");
    guest.get(&forget(node, 1));
    assert_eq!(count(&directory), before);
}

#[test]
fn none_passes_to_a_program_that_the_process_starts() {
    let directory = Directory::new("cloexec");
    let before = all();
    for name in ["one", "two"] {
        directory.write(name, "content");
    }
    let mapped = directory.mapped(OPTIONS);
    let guest = &mapped.guest;
    let node = guest.look_up(ROOT, "one");
    guest.open(node, libc::O_RDWR);
    guest.opendir(ROOT);
    for (name, flags) in [("one", libc::O_RDWR), ("new", libc::O_RDWR)] {
        guest.get(&create(ROOT, name, flags, 0o644, 0));
    }
    guest.get(&map(guest.look_up(ROOT, "two"), true, 0));
    let descriptors = all();
    assert!(count(&directory) > 7, "{descriptors:?}");
    for number in descriptors.keys().filter(|number| !before.contains_key(*number)) {
        // Those of tests beside this one are Rust's own, which have the flag, or come and go.
        let Some(flags) = flags_of(number) else { continue };
        assert_ne!(flags & libc::O_CLOEXEC, 0, "{number}: {:?}", descriptors[number]);
    }
}

/// With which flags a descriptor was opened, if it is open still.
fn flags_of(number: &str) -> Option<i32> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).ok()?;
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:\t"));
    Some(i32::from_str_radix(flags.unwrap(), 8).unwrap())
}

#[test]
fn a_file_is_opened_as_the_guest_says_where_that_is_the_hosts_affair() {
    let directory = Directory::new("flags");
    let path = directory.write("file", "").canonicalize().unwrap();
    let guest = directory.served(OPTIONS);
    let node = guest.look_up(ROOT, "file");
    let of_file = || all().into_iter().filter(|(_, of)| *of == path).map(|(number, _)| number).collect::<Vec<_>>();
    let before = of_file();
    for (flags, passed) in [
        (libc::O_RDONLY, libc::O_RDONLY),
        (libc::O_RDWR | libc::O_SYNC, libc::O_RDWR | libc::O_SYNC),
        (libc::O_WRONLY | libc::O_DSYNC, libc::O_WRONLY | libc::O_DSYNC),
        (libc::O_RDWR | libc::O_APPEND | libc::O_DIRECT | libc::O_NOATIME, libc::O_RDWR),
    ] {
        let fh = guest.open(node, flags);
        let opened = of_file().into_iter().find(|number| !before.contains(number)).unwrap();
        let has = flags_of(&opened).unwrap();
        let all = libc::O_ACCMODE | libc::O_SYNC | libc::O_APPEND | libc::O_DIRECT | libc::O_NOATIME;
        assert_eq!(has & all, passed, "{flags:#o}");
        guest.get(&release(node, fh));
    }
}
