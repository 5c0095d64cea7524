//! GETATTR, SETATTR, STATFS: what a guest is told of files, and what it changes of that.

use crate::client::requests::*;
use crate::client::{ROOT, long, word};
use crate::served::{Directory, Guest, OPTIONS, may_act_as_others};
use daxmap_virtiofs::{Options, Owner};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

/// The fields of a `struct fuse_attr`, but for the device and the flags.
fn fields(attr: &[u8]) -> [u64; 14] {
    let longs = [0, 8, 16, 24, 32, 40].map(|at| long(attr, at));
    let words = [48, 52, 56, 60, 64, 68, 72, 80].map(|at| u64::from(word(attr, at)));
    std::array::from_fn(|field| if field < 6 { longs[field] } else { words[field - 6] })
}

/// What lstat(2) says of the same.
fn of_host(path: &Path) -> [u64; 14] {
    let is = std::fs::symlink_metadata(path).unwrap();
    let times = [is.atime(), is.mtime(), is.ctime()].map(i64::cast_unsigned);
    let nanoseconds = [is.atime_nsec(), is.mtime_nsec(), is.ctime_nsec()].map(i64::cast_unsigned);
    let [mode, uid, gid] = [is.mode(), is.uid(), is.gid()].map(u64::from);
    let [[atime, mtime, ctime], [atimensec, mtimensec, ctimensec]] = [times, nanoseconds];
    let (size, blocks, blksize) = (is.size(), is.blocks(), is.blksize());
    [is.ino(), size, blocks, atime, mtime, ctime, atimensec, mtimensec, ctimensec, mode, is.nlink(), uid, gid, blksize]
}

#[test]
fn a_guest_is_told_what_the_host_says_of_a_file() {
    let directory = Directory::new("told");
    let file = directory.write("file", [1; 5000]);
    std::fs::File::open(file).unwrap().sync_all().unwrap(); // how many blocks it has is settled then
    std::fs::create_dir(directory.path("directory")).unwrap();
    symlink("file", directory.path("link")).unwrap();
    for (name, kind) in [("fifo", FileType::Fifo), ("socket", FileType::Socket)] {
        mknodat(CWD, directory.path(name), kind, Mode::from_raw_mode(0o640), 0).unwrap();
    }
    let guest = directory.served(OPTIONS);
    for name in ["file", "directory", "link", "fifo", "socket"] {
        let entry = guest.get(&lookup(ROOT, name));
        let attributes = guest.get(&getattr(long(&entry, 0)));
        let host = of_host(&directory.path(name));
        assert_eq!((fields(&entry[40..]), fields(&attributes[16..])), (host, host), "{name}");
    }
    assert_eq!(fields(&guest.get(&getattr(ROOT))[16..]), of_host(&directory.path("")));
}

#[test]
fn a_device_has_its_number_as_linux_writes_it() {
    let directory = Directory::new("device");
    for (major, minor) in [(0x123, 0x45), (1, 0x345), (0, 0x80)] {
        let made =
            mknodat(CWD, directory.path("node"), FileType::CharacterDevice, Mode::empty(), makedev(major, minor));
        if made.is_err() {
            eprintln!("SKIP: numbers of devices: a device can't be made here");
            return;
        }
        let guest = directory.served(OPTIONS);
        let entry = guest.get(&lookup(ROOT, "node"));
        // `new_encode_dev` of include/linux/kdev_t.h: 12 bits of the major number between 8 and 12 of the minor.
        assert_eq!(word(&entry, 40 + 76), major << 8 | minor & 0xff | (minor & 0xfff00) << 12);
        std::fs::remove_file(directory.path("node")).unwrap();
    }
}

fn mode_of(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn chmod(guest: &Guest, node: u64, mode: u32) -> u32 {
    let set = guest.get(&SetAttr { valid: FATTR_MODE, mode, ..SetAttr::default() }.of(node));
    word(&set, 16 + 60) & 0o7777
}

#[test]
fn the_mode_of_a_file_never_runs_it_as_the_server() {
    let directory = Directory::new("chmod");
    let (file, inner) = (directory.write("file", ""), directory.path("inner"));
    std::fs::create_dir(&inner).unwrap();
    let guest = directory.served(OPTIONS);
    let [file_node, inner_node] = ["file", "inner"].map(|name| guest.look_up(ROOT, name));
    assert_eq!((chmod(&guest, file_node, 0o100_640), mode_of(&file)), (0o640, 0o640));
    assert_eq!((chmod(&guest, file_node, 0o107_755), mode_of(&file)), (0o1755, 0o1755));
    assert_eq!((chmod(&guest, inner_node, 0o42_750), mode_of(&inner)), (0o2750, 0o2750));

    // A file that a guest opens to write must not run as its owner any more, whoever has set that bit.
    for request in [open(file_node, libc::O_WRONLY), create(ROOT, "file", libc::O_RDWR, 0, 0)] {
        std::fs::set_permissions(&file, Permissions::from_mode(0o6755)).unwrap();
        guest.get(&open(file_node, libc::O_RDONLY));
        assert_eq!(mode_of(&file), 0o6755);
        guest.get(&request);
        assert_eq!(mode_of(&file), 0o755, "{request:?}");
    }
}

#[test]
fn files_whose_owners_are_the_guests_have_any_mode() {
    if !may_act_as_others("files of a guest's users") {
        return;
    }
    let directory = Directory::new("chmod-guest");
    let file = directory.write("file", "");
    let guest = directory.served(Options { owner: Owner::Guest, ..OPTIONS });
    assert_eq!((chmod(&guest, guest.look_up(ROOT, "file"), 0o6755), mode_of(&file)), (0o6755, 0o6755));
}

#[test]
fn the_owner_of_a_file_stays_the_server() {
    let directory = Directory::new("chown");
    let is = std::fs::metadata(directory.write("file", "")).unwrap();
    let (uid, gid) = (is.uid(), is.gid());
    let guest = directory.served(OPTIONS);
    let node = guest.look_up(ROOT, "file");
    let chown = |valid, owner| guest.errno(&SetAttr { valid, owner, ..SetAttr::default() }.of(node));
    let both = FATTR_UID | FATTR_GID;
    assert_eq!([chown(both, [uid, gid]), chown(FATTR_UID, [uid, 7]), chown(FATTR_GID, [7, gid])], [0; 3]);
    let others =
        [(both, [uid + 1, gid]), (both, [uid, gid + 1]), (FATTR_UID, [uid + 1, gid]), (FATTR_GID, [uid, gid + 1])];
    assert_eq!(others.map(|(valid, owner)| chown(valid, owner)), [libc::EPERM; 4]);
    let unchanged = [(both, [u32::MAX, gid]), (both, [uid, u32::MAX])]; // to chown(2)
    assert_eq!(unchanged.map(|(valid, owner)| chown(valid, owner)), [libc::EINVAL; 2]);
}

#[test]
fn the_owner_of_a_file_is_the_guests_to_change() {
    if !may_act_as_others("owners of files") {
        return;
    }
    let directory = Directory::new("chown-guest");
    directory.write("file", "");
    symlink("file", directory.path("link")).unwrap();
    let guest = directory.served(Options { owner: Owner::Guest, ..OPTIONS });
    let owner = |name: &str| {
        let is = std::fs::symlink_metadata(directory.path(name)).unwrap();
        [is.uid(), is.gid()]
    };
    let chown = |name: &str, valid, owner| {
        guest.errno(&SetAttr { valid, owner, ..SetAttr::default() }.of(guest.look_up(ROOT, name)))
    };
    assert_eq!((chown("link", FATTR_UID | FATTR_GID, [12, 34]), owner("link"), owner("file")), (0, [12, 34], [0, 0]));
    assert_eq!((chown("file", FATTR_UID, [56, 78]), owner("file")), (0, [56, 0]));
    assert_eq!((chown("file", FATTR_GID, [9, 78]), owner("file")), (0, [56, 78]));
}

#[test]
fn times_are_set_one_by_one_or_to_now() {
    let directory = Directory::new("times");
    let file = directory.write("file", "");
    let guest = directory.served(OPTIONS);
    let node = guest.look_up(ROOT, "file");
    let set = |valid, times| {
        guest.get(&SetAttr { valid, times, nanoseconds: [1, 2], ..SetAttr::default() }.of(node));
        let is = std::fs::metadata(&file).unwrap();
        [(is.atime(), is.atime_nsec()), (is.mtime(), is.mtime_nsec())]
    };
    assert_eq!(set(FATTR_ATIME | FATTR_MTIME, [100, 200]), [(100, 1), (200, 2)]);
    assert_eq!(set(FATTR_ATIME, [300, 400]), [(300, 1), (200, 2)]);
    assert_eq!(set(FATTR_MTIME, [500, 600]), [(300, 1), (600, 2)]);
    let [access, modification] = set(FATTR_ATIME | FATTR_ATIME_NOW, [7, 8]);
    assert!(access.0 > 1 << 30 && modification == (600, 2), "{access:?}, {modification:?}");
    let [access, modification] = set(FATTR_ATIME | FATTR_MTIME | FATTR_MTIME_NOW, [7, 8]);
    assert!(access == (7, 1) && modification.0 > 1 << 30, "{access:?}, {modification:?}");
    assert_eq!(set(FATTR_MODE, [7, 8])[0], (7, 1), "nothing was said of times");
}

#[test]
fn the_size_of_a_regular_file_is_set() {
    let directory = Directory::new("size");
    let file = directory.write("file", [1; 100]);
    std::fs::create_dir(directory.path("inner")).unwrap();
    symlink("file", directory.path("link")).unwrap();
    let guest = directory.served(OPTIONS);
    let node = guest.look_up(ROOT, "file");
    let resize = |node, fh: Option<u64>, size| {
        let valid = FATTR_SIZE | if fh.is_some() { FATTR_FH } else { 0 };
        guest.errno(&SetAttr { valid, fh: fh.unwrap_or(0), size, ..SetAttr::default() }.of(node))
    };
    let length = || std::fs::metadata(&file).unwrap().len();
    let [writable, readable] = [libc::O_RDWR, libc::O_RDONLY].map(|flags| guest.open(node, flags));
    assert_eq!((resize(node, None, 50), length()), (0, 50));
    assert_eq!((resize(node, Some(writable), 70), length()), (0, 70));
    assert_eq!((resize(node, Some(readable), 60), length()), (0, 60), "the guest's kernel has found that it may");
    assert_eq!((resize(node, None, 1 << 63), resize(node, Some(99), 1)), (libc::EINVAL, libc::EBADF));
    assert_eq!(["inner", "link"].map(|name| resize(guest.look_up(ROOT, name), None, 0)), [libc::EINVAL; 2]);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(resize(node, Some(writable), 10), 0);
}

#[test]
fn a_file_system_is_told_as_the_host_has_it() {
    let directory = Directory::new("statfs");
    let host = rustix::fs::statvfs(directory.path("")).unwrap();
    let told = directory.served(OPTIONS).get(&statfs(ROOT));
    assert_eq!([40, 44, 48].map(|at| u64::from(word(&told, at))), [host.f_bsize, host.f_namemax, host.f_frsize]);
}
