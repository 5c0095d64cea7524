//! OPENDIR, READDIR, READDIRPLUS: what is in a directory.

use crate::client::requests::*;
use crate::client::{ROOT, long, word};
use crate::served::{Directory, OPTIONS};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::collections::BTreeMap;
use std::os::unix::fs::{DirEntryExt, MetadataExt, symlink};
use std::thread;

/// Inode number, offset of the next, and kind of each entry, by name; and where the next one is.
fn entries(mut body: &[u8]) -> (BTreeMap<String, (u64, u64, u32)>, usize) {
    let mut found = BTreeMap::new();
    let all = body.len();
    while body.len() >= 24 {
        let length = word(body, 16) as usize;
        let name = String::from_utf8(body[24..24 + length].to_vec()).unwrap();
        found.insert(name, (long(body, 0), long(body, 8), word(body, 20)));
        body = &body[(24 + length).next_multiple_of(8)..];
    }
    (found, all)
}

#[test]
fn a_directory_is_listed_as_the_host_has_it() {
    let directory = Directory::new("listed");
    std::fs::create_dir_all(directory.path("share/inner")).unwrap();
    directory.write("share/file", "");
    symlink("file", directory.path("share/link")).unwrap();
    mknodat(CWD, directory.path("share/fifo"), FileType::Fifo, Mode::empty(), 0).unwrap();
    let guest = directory.inner_served("share", OPTIONS);
    let root = guest.opendir(ROOT);
    let (found, _) = entries(&guest.get(&readdir(ROOT, root, 0, 4096)));
    let kinds: Vec<_> = found.iter().map(|(name, (_, _, kind))| (name.as_str(), *kind)).collect();
    let [dir, fifo, reg, lnk] = [libc::DT_DIR, libc::DT_FIFO, libc::DT_REG, libc::DT_LNK].map(u32::from);
    assert_eq!(kinds, [(".", dir), ("..", dir), ("fifo", fifo), ("file", reg), ("inner", dir), ("link", lnk)]);
    for entry in std::fs::read_dir(directory.path("share")).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(found[entry.file_name().to_str().unwrap()].0, entry.ino());
    }
    let share = std::fs::metadata(directory.path("share")).unwrap().ino();
    assert_eq!(found[".."].0, share, "what the share lies in is none of the guest's business");
    let inner = guest.look_up(ROOT, "inner");
    let (found, _) = entries(&guest.get(&readdir(inner, guest.opendir(inner), 0, 4096)));
    assert_eq!(found.keys().collect::<Vec<_>>(), [".", ".."]);
    assert_eq!(found[".."].0, share);
    assert_eq!(guest.errno(&readdir(ROOT, root, 1 << 63, 4096)), libc::EINVAL);
    assert_eq!(guest.errno(&opendir(guest.look_up(ROOT, "file"))), libc::ENOTDIR);
    assert_eq!(guest.errno(&open(inner, libc::O_RDONLY)), libc::EISDIR);
}

#[test]
fn a_directory_is_listed_in_pieces_that_fit() {
    let directory = Directory::new("pieces");
    (0..50).for_each(|number| _ = directory.write(&format!("file{number}"), ""));
    let guest = directory.served(OPTIONS);
    let fh = guest.opendir(ROOT);
    let (mut names, mut offset) = (Vec::new(), 0);
    loop {
        let (found, length) = entries(&guest.get(&readdir(ROOT, fh, offset, 200)));
        assert!(length <= 200);
        let Some(last) = found.values().map(|(_, next, _)| *next).max() else { break };
        names.extend(found.into_keys());
        offset = last;
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 52);
    // A guest that asks for more than it has room for gets what fits.
    let reply = guest.answer_within(500, &readdir(ROOT, fh, 0, 4096));
    let used = reply.len();
    assert!((300..=500).contains(&used) && reply[4..8] == [0; 4], "{used} bytes");
}

#[test]
fn entries_are_looked_up_as_they_are_listed() {
    let directory = Directory::new("plus");
    (0..8).for_each(|number| _ = directory.write(&format!("file{number}"), "abc"));
    let guest = directory.served(OPTIONS);
    let fh = guest.opendir(ROOT);
    let body = guest.get(&readdirplus(ROOT, fh, 0, 5 * 160));
    let mut told = 0;
    for entry in body.chunks(128 + 32) {
        let name = String::from_utf8_lossy(&entry[152..152 + word(entry, 144) as usize]).into_owned();
        if name.starts_with('.') {
            assert_eq!(long(entry, 0), 0, "{name} is not looked up");
            continue;
        }
        told += 1;
        assert_eq!((guest.look_up(ROOT, &name), long(entry, 40 + 8)), (long(entry, 0), 3));
        guest.get(&forget(long(entry, 0), 1));
        guest.get(&forget(long(entry, 0), 1));
    }
    assert!((3..=5).contains(&told), "{told}");
    assert_eq!(guest.0.known_inodes(), 0, "what had no room was not told");
}

#[test]
fn threads_that_read_a_directory_by_one_handle_get_what_they_ask_for() {
    let directory = Directory::new("threads");
    (0..50).for_each(|number| _ = directory.write(&format!("file{number}"), ""));
    let guest = directory.served(OPTIONS);
    let fh = guest.opendir(ROOT);
    let listed = |offset| guest.get(&readdir(ROOT, fh, offset, 100));
    let first = listed(0);
    let offset = long(&first, 8);
    let second = listed(offset);
    assert_ne!(first, second);
    thread::scope(|scope| {
        for (offset, whole) in [(0, &first), (offset, &second)].repeat(2) {
            scope.spawn(move || (0..5000).for_each(|_| assert_eq!(&listed(offset), whole)));
        }
    });
}
