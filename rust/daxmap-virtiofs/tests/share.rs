//! What only Rust code can do: a read-only share whose mapper is not, and threads that are quick enough to meet.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, missing_docs)]

use daxmap_core::fuse::Policy;
use daxmap_core::{GuestAddress, HostWindowBackend, Mapper, Options as MapperOptions};
use daxmap_virtiofs::{Cache, FileServer, Options, Owner};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

const ROOT: u64 = 1;
const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const READLINK: u32 = 5;
const MKNOD: u32 = 8;
const MKDIR: u32 = 9;
const OPEN: u32 = 14;
const READ: u32 = 15;
const SETXATTR: u32 = 21;
const GETXATTR: u32 = 22;
const BATCH_FORGET: u32 = 42;
const RENAME2: u32 = 45;

fn request(opcode: u32, nodeid: u64, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(40 + body.len()).unwrap();
    let mut request = [length.to_le_bytes(), opcode.to_le_bytes()].concat();
    request.extend([7_u64, nodeid, 0, 0].map(u64::to_le_bytes).concat());
    request.extend(body);
    request
}

/// An unsigned number of a reply.
fn long(reply: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(reply[at..at + 8].try_into().unwrap())
}

/// A directory of its own, removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("daxmap-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn served(&self, cache: Cache) -> FileServer {
        FileServer::new(&self.0, None, &Options { cache, ..options(false) }).unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn options(readonly: bool) -> Options {
    Options { readonly, dax: Policy::Always, owner: Owner::Host, cache: Cache::Auto, max_open: None }
}

#[test]
fn nothing_of_a_read_only_share_is_mapped_to_be_written() {
    let directory = std::env::temp_dir().join(format!("daxmap-readonly-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("file"), [b'x'; 4096]).unwrap();
    let window = HostWindowBackend::new().unwrap();
    let mapper = Mapper::new(GuestAddress(0), 2 << 20, MapperOptions::default(), |range| window.attach(range)).unwrap();
    let mapper = Arc::new(mapper);
    let options = options(true);
    let server = FileServer::new(&directory, Some(Arc::clone(&mapper)), &options).unwrap();
    let entry = server.answer(&request(1, 1, b"file\0")).unwrap();
    let nodeid = u64::from_le_bytes(entry[16..24].try_into().unwrap());
    let told = |flags: u64| {
        let body = [u64::MAX, 0, 4096, flags, 0].map(u64::to_le_bytes).concat();
        let reply = server.answer(&request(48, nodeid, &body)).unwrap();
        i32::from_le_bytes(reply[4..8].try_into().unwrap())
    };
    assert_eq!(told(3), -libc::EROFS);
    assert_eq!(mapper.live_mappings(), 0);
    assert!(format!("{server:?}").contains(&format!("{options:?}")), "{server:?}");
    assert_eq!(told(2), 0);
    assert_eq!(told(3), -libc::EROFS);
    mapper.drain_all().unwrap();
    drop(server);
    drop(mapper);
    window.release().unwrap();
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn threads_that_read_a_directory_by_one_handle_get_what_they_ask_for() {
    let directory = std::env::temp_dir().join(format!("daxmap-threads-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    for number in 0..50 {
        std::fs::write(directory.join(format!("file{number}")), b"").unwrap();
    }
    let server = FileServer::new(&directory, None, &options(false)).unwrap();
    let opened = server.answer(&request(27, 1, &[0; 8])).unwrap();
    let fh = u64::from_le_bytes(opened[16..24].try_into().unwrap());
    let listed = |offset: u64| {
        let body = [fh, offset, 100, 0, 0].map(u64::to_le_bytes).concat();
        server.answer(&request(28, 1, &body)).unwrap()
    };
    let first = listed(0);
    let offset = u64::from_le_bytes(first[24..32].try_into().unwrap());
    let second = listed(offset);
    assert_ne!(first, second);
    thread::scope(|scope| {
        for (offset, whole) in [(0, &first), (offset, &second)].repeat(2) {
            scope.spawn(move || (0..5000).for_each(|_| assert_eq!(&listed(offset), whole)));
        }
    });
    drop(server);
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn names_and_attributes_are_believed_as_long_as_the_cache_says() {
    let directory = Directory::new("believed");
    std::fs::write(directory.0.join("file"), b"").unwrap();
    for (cache, seconds) in [(Cache::Never, 0), (Cache::Auto, 1), (Cache::Always, 24 * 60 * 60)] {
        let server = directory.served(cache);
        let entry = server.answer(&request(LOOKUP, ROOT, b"file\0")).unwrap();
        assert_eq!([long(&entry, 32), long(&entry, 40)], [seconds; 2], "{cache:?}");
    }
}

#[test]
fn an_inode_is_known_until_all_its_look_ups_are_forgotten() {
    let directory = Directory::new("forgotten");
    for name in ["one", "two"] {
        std::fs::write(directory.0.join(name), b"").unwrap();
    }
    let server = directory.served(Cache::Auto);
    let look_up = |name: &str| long(&server.answer(&request(LOOKUP, ROOT, name.as_bytes())).unwrap(), 16);
    let forget = |node: u64, times: u64| assert!(server.answer(&request(FORGET, node, &times.to_le_bytes())).is_none());
    assert_eq!(server.known_inodes(), 0);
    let one = look_up("one\0");
    assert_eq!((look_up("one\0"), server.known_inodes()), (one, 1));
    let two = look_up("two\0");
    assert_ne!(one, two);
    assert_eq!(server.known_inodes(), 2);
    forget(one, 1);
    assert_eq!(server.known_inodes(), 2);
    forget(one, 1);
    assert_eq!(server.known_inodes(), 1);
    assert_eq!(look_up("two\0"), two);
    let both = [1_u64, two, 2].map(u64::to_le_bytes).concat(); // a count of one, and that one
    assert!(server.answer(&request(BATCH_FORGET, 0, &both)).is_none());
    assert_eq!(server.known_inodes(), 0);
}

#[test]
fn what_is_made_has_the_mode_that_was_asked_for_whatever_the_processs_umask() {
    let directory = Directory::new("modes");
    let mode = |name: &str| std::fs::metadata(directory.0.join(name)).unwrap().permissions().mode() & 0o7777;
    let server = directory.served(Cache::Auto);
    let make = |opcode: u32, words: &[u32], name: &str| {
        let words: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let reply = server.answer(&request(opcode, ROOT, &[&words, name.as_bytes(), b"\0"].concat())).unwrap();
        assert_eq!(reply[4..8], [0; 4], "{name}");
        mode(name)
    };
    for (umask, file, inner) in [(0, 0o666, 0o1777), (0o027, 0o640, 0o1750)] {
        assert_eq!(make(MKNOD, &[0o100_666, 0, umask, 0], &format!("file {umask}")), file);
        assert_eq!(make(MKDIR, &[0o1777, umask], &format!("directory {umask}")), inner);
    }
}

#[test]
fn a_file_that_was_moved_is_found_where_it_is_now() {
    let directory = Directory::new("moved");
    std::fs::create_dir(directory.0.join("inner")).unwrap();
    for (name, length) in [("one", 1), ("inner/two", 2)] {
        std::fs::write(directory.0.join(name), vec![0; length]).unwrap();
    }
    (0..40).for_each(|number| std::fs::write(directory.0.join(format!("other {number}")), b"").unwrap());
    let few = Options { max_open: Some(64), ..options(false) }; // a quarter of them for what was used last
    let server = FileServer::new(&directory.0, None, &few).unwrap();
    let look_up = |within: u64, name: &[u8]| long(&server.answer(&request(LOOKUP, within, name)).unwrap(), 16);
    let inner = look_up(ROOT, b"inner\0");
    let nodes = [look_up(ROOT, b"one\0"), look_up(inner, b"two\0")];
    let moved = |(from, to): (u64, u64), flags: u32, names: &[u8]| {
        let body = [&to.to_le_bytes()[..], &flags.to_le_bytes(), &[0; 4], names].concat();
        assert_eq!(server.answer(&request(RENAME2, from, &body)).unwrap()[4..8], [0; 4]);
        (0..40).for_each(|number| _ = look_up(ROOT, format!("other {number}\0").as_bytes()));
        nodes.map(|node| long(&server.answer(&request(GETATTR, node, &[0; 16])).unwrap(), 40))
    };
    assert_eq!(moved((ROOT, inner), libc::RENAME_EXCHANGE, b"one\0two\0"), [1, 2]);
    assert_eq!(moved((ROOT, inner), 0, b"one\0three\0"), [1, 2]);
    assert_eq!(moved((inner, ROOT), libc::RENAME_NOREPLACE, b"two\0four\0"), [1, 2]);
    assert_eq!((look_up(ROOT, b"four\0"), look_up(inner, b"three\0")), (nodes[0], nodes[1]));
}

#[test]
fn a_reply_has_room_for_what_the_guest_asks_for() {
    let directory = Directory::new("room");
    let target = "x".repeat(2000);
    std::os::unix::fs::symlink(&target, directory.0.join("link")).unwrap();
    std::fs::write(directory.0.join("file"), target.as_bytes()).unwrap();
    let server = directory.served(Cache::Auto);
    let look_up = |name: &[u8]| long(&server.answer(&request(LOOKUP, ROOT, name)).unwrap(), 16);
    let (link, file) = (look_up(b"link\0"), look_up(b"file\0"));
    assert_eq!(server.answer(&request(READLINK, link, &[])).unwrap()[16..], *target.as_bytes());
    let fh = long(&server.answer(&request(OPEN, file, &[0; 8])).unwrap(), 16);
    let read = [fh, 0, 1500, 0, 0].map(u64::to_le_bytes).concat();
    assert_eq!(server.answer(&request(READ, file, &read)).unwrap()[16..], *"x".repeat(1500).as_bytes());
    let value = [&1000_u32.to_le_bytes()[..], &[0; 4], b"user.daxmap\0", &[7; 1000]].concat();
    let set = server.answer(&request(SETXATTR, file, &value)).unwrap();
    if set[4..8] == (-libc::EOPNOTSUPP).to_le_bytes() {
        return; // the file system has no such attributes
    }
    let asked = [&1000_u32.to_le_bytes()[..], &[0; 4], b"user.daxmap\0"].concat();
    assert_eq!(server.answer(&request(GETXATTR, file, &asked)).unwrap()[16..], [7; 1000]);
    assert!(format!("{server:?}").starts_with("FileServer { share: "));
}
