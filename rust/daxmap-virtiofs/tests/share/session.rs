//! INIT, DESTROY, and what is no request of a share: how a guest starts, and what it gets that asks for anything else.

use crate::client::requests::*;
use crate::client::{ROOT, Request, SILENT, long, word};
use crate::served::{Directory, Guest, OPTIONS};
use daxmap_core::fuse::Policy;
use daxmap_virtiofs::{Cache, Options};

const AUTO_INVAL_DATA: u64 = 1 << 12;
const EXPLICIT_INVAL_DATA: u64 = 1 << 25;
const MAP_ALIGNMENT: u64 = 1 << 26;
const INIT_EXT: u64 = 1 << 30;
const HAS_INODE_DAX: u64 = 1 << 33;
/// What a guest offers that was mounted with `-o dax`.
const DAX: u64 = AUTO_INVAL_DATA | EXPLICIT_INVAL_DATA | MAP_ALIGNMENT | INIT_EXT;
const KEEP_CACHE: u32 = 1 << 1;
const DIRECT_IO: u32 = 1 << 0;

/// Which of the flags about pages INIT grants, and with which flags a file is opened then.
fn pages(guest: &Guest, offered: u64) -> (u64, u32) {
    let granted = u64::from(word(&guest.get(&init(7, offered)), 12));
    let opened = guest.get(&open(guest.look_up(ROOT, "file"), libc::O_RDONLY));
    (granted & (AUTO_INVAL_DATA | EXPLICIT_INVAL_DATA | MAP_ALIGNMENT), word(&opened, 8))
}

#[test]
fn a_guest_that_maps_all_files_has_no_pages_to_drop() {
    let directory = Directory::new("pages");
    directory.write("file", "");
    let without_window = directory.served(OPTIONS);
    assert_eq!(pages(&without_window, DAX), (AUTO_INVAL_DATA, 0));
    let mapped = directory.mapped(OPTIONS);
    for (offered, told) in [
        (DAX, (EXPLICIT_INVAL_DATA | MAP_ALIGNMENT, KEEP_CACHE)),
        (DAX & !AUTO_INVAL_DATA, (EXPLICIT_INVAL_DATA | MAP_ALIGNMENT, KEEP_CACHE)),
        (DAX & !EXPLICIT_INVAL_DATA, (AUTO_INVAL_DATA | MAP_ALIGNMENT, KEEP_CACHE)),
        (DAX | HAS_INODE_DAX, (AUTO_INVAL_DATA | MAP_ALIGNMENT, 0)), // it maps those that are marked
        (DAX & !MAP_ALIGNMENT, (AUTO_INVAL_DATA, 0)),                // it maps none
    ] {
        assert_eq!(pages(&mapped.guest, offered), told, "{offered:#x}");
    }
    for (cache, flags) in [(Cache::Never, DIRECT_IO), (Cache::Always, KEEP_CACHE)] {
        assert_eq!(pages(&directory.served(Options { cache, ..OPTIONS }), 0).1, flags);
        let mapped = directory.mapped(Options { cache, ..OPTIONS });
        assert_eq!(pages(&mapped.guest, DAX).1, flags);
    }
    // FOPEN_CACHE_DIR and FOPEN_KEEP_CACHE.
    let opened = |cache| word(&directory.served(Options { cache, ..OPTIONS }).get(&opendir(ROOT)), 8);
    assert_eq!([Cache::Never, Cache::Auto, Cache::Always].map(opened), [0, 0, 1 << 3 | 1 << 1]);
}

#[test]
fn files_that_the_guest_is_to_map_are_marked() {
    let directory = Directory::new("marked");
    directory.write("small", [1; 100]);
    directory.write("large", [1; 5000]);
    let dax = Policy::Inode { min_size: 4096 };
    let mapped = directory.mapped(Options { dax, ..OPTIONS });
    let guest = &mapped.guest;
    guest.get(&init(7, DAX | HAS_INODE_DAX));
    let flags = |name: &str| {
        let entry = guest.get(&lookup(ROOT, name));
        let node = long(&entry, 0);
        let created = guest.get(&create(ROOT, name, libc::O_RDONLY, 0, 0));
        let set = guest.get(&SetAttr::default().of(node));
        let told = [&entry[40..], &guest.get(&getattr(node))[16..], &created[40..], &set[16..]];
        told.map(|attr| word(attr, 84))
    };
    assert_eq!((flags("small"), flags("large")), ([0; 4], [2; 4])); // FUSE_ATTR_DAX
    assert_eq!(word(&guest.get(&lookup(ROOT, "large")), 40 + 84), 2);
    let never = directory.mapped(Options { dax: Policy::Never, ..OPTIONS });
    assert_eq!(word(&never.guest.get(&lookup(ROOT, "large")), 40 + 84), 0);
    assert_eq!(never.guest.errno(&map(never.guest.look_up(ROOT, "large"), false, 0)), libc::ENOSYS);
}

#[test]
fn an_init_that_is_refused_starts_nothing() {
    let directory = Directory::new("refused");
    directory.write("file", "");
    let guest = directory.served(OPTIONS);
    let known = || guest.0.known_inodes();
    guest.look_up(ROOT, "file");
    assert_eq!((guest.errno(&init(6, 0)), known()), (libc::EPROTO, 1));
    let other = guest.get(&init(8, 0)); // it is told which version to ask for
    assert_eq!(word(&other, 0), 7);
    assert_eq!((word(&guest.get(&init(7, 0)), 0), known()), (7, 0));
}

#[test]
fn what_is_not_offered_is_not_there() {
    let directory = Directory::new("opcodes");
    let guest = directory.served(OPTIONS);
    let offered = |opcode| matches!(opcode, 1..=6 | 8..=18 | 20..=30 | 35 | 38 | 43..=46 | 48 | 49);
    for opcode in (0..70).chain([4096, u32::MAX]).filter(|opcode| !SILENT.contains(opcode)) {
        let errno = guest.errno(&Request::new(opcode, ROOT).bytes(&[0; 64]));
        assert_eq!(errno != libc::ENOSYS, offered(opcode), "{opcode}: {errno}");
    }
    for opcode in SILENT {
        assert!(guest.0.answer(&Request::new(opcode, ROOT).bytes(&[0; 64]).whole()).is_none(), "{opcode}");
    }
}

#[test]
fn a_reply_is_as_long_as_the_guest_has_room_for() {
    let directory = Directory::new("room");
    let content: Vec<u8> = (0..=255).collect();
    directory.write("file", content.repeat(10));
    // XFS has no longer ones.
    let target = "x".repeat(1000);
    std::os::unix::fs::symlink(&target, directory.path("link")).unwrap();
    let guest = directory.served(OPTIONS);
    let [link, file] = ["link", "file"].map(|name| guest.look_up(ROOT, name));
    assert_eq!(guest.get(&readlink(link)), target.as_bytes());
    let fh = guest.open(file, libc::O_RDWR);
    assert_eq!(guest.get(&read(file, fh, 0, 1500)), content.repeat(10)[..1500]);
    let answer = |request, room| guest.answer_within(room, &request);
    let errno = |reply: &[u8]| -i32::from_le_bytes(reply[4..8].try_into().unwrap());
    assert_eq!(answer(read(file, fh, 100, 5000), 116)[16..], content.repeat(10)[100..200]);
    assert_eq!(answer(getattr(file), 15), b"");
    assert_eq!(errno(&answer(getattr(file), 16)), libc::EINVAL, "no room for what it asks");
    assert_eq!(errno(&answer(flush(file, fh), 16)), 0);
    assert_eq!(answer(getattr(file), 16 + 104).len(), 16 + 104);
    let known = guest.0.known_inodes();
    assert_eq!((answer(forget(link, 1), 0), guest.0.known_inodes()), (vec![], known - 1));
    assert_eq!(word(&answer(write(file, fh, 0, &content, 0, 0), 24), 16), 256);
    assert!(format!("{:?}", guest.0).starts_with("FileServer { share: "));
}
