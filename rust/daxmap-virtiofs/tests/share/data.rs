//! READ, WRITE, LSEEK, FALLOCATE, FSYNC, FLUSH: what is in a file.

use crate::client::requests::*;
use crate::client::{ROOT, long, word};
use crate::served::{Directory, OPTIONS};
use daxmap_virtiofs::Options;
use std::os::unix::fs::MetadataExt;

const WRITTEN_BACK: u32 = 1 << 0; // FUSE_WRITE_CACHE

#[test]
fn data_goes_where_it_belongs() {
    let directory = Directory::new("data");
    let path = directory.write("file", "0123456789");
    let guest = directory.served(OPTIONS);
    let node = guest.look_up(ROOT, "file");
    let fh = guest.open(node, libc::O_RDWR);
    assert_eq!(guest.get(&read(node, fh, 0, 100)), b"0123456789");
    assert_eq!(guest.get(&read(node, fh, 3, 4)), b"3456");
    assert_eq!(guest.get(&read(node, fh, 10, 4)), b"");
    let content = |offset, write_flags, flags| {
        let written = guest.get(&write(node, fh, offset, b"ab", write_flags, flags));
        assert_eq!(word(&written, 0), 2);
        String::from_utf8(std::fs::read(&path).unwrap()).unwrap()
    };
    assert_eq!(content(4, 0, 0), "0123ab6789");
    assert_eq!(content(0, 0, libc::O_APPEND), "0123ab6789ab", "the end is the host's");
    assert_eq!(content(0, WRITTEN_BACK, libc::O_APPEND), "ab23ab6789ab", "a page has its place");
    assert_eq!(content(0, 2, libc::O_APPEND), "ab23ab6789abab", "FUSE_WRITE_LOCKOWNER says nothing of the place");
    let longer = write(node, fh, 0, b"ab", 0, 0).bytes(b"c");
    assert_eq!(guest.errno(&longer), libc::EINVAL, "more data than it says");
    assert_eq!(guest.errno(&read(node, fh, 0, 4).bytes(b"c")), libc::EINVAL);
}

#[test]
fn as_much_is_read_at_once_as_init_grants() {
    let directory = Directory::new("large");
    let content: Vec<u8> = (0..1_u32 << 18).flat_map(u32::to_le_bytes).collect();
    directory.write("file", &content);
    let guest = directory.served(OPTIONS);
    let node = guest.look_up(ROOT, "file");
    assert_eq!(guest.get(&read(node, guest.open(node, libc::O_RDONLY), 0, 1 << 20)), content);
}

#[test]
fn a_file_says_where_its_data_and_its_holes_are() {
    let directory = Directory::new("holes");
    let path = directory.write("file", "");
    std::fs::File::options().write(true).open(&path).unwrap().set_len(1 << 20).unwrap();
    let guest = directory.served(OPTIONS);
    let node = guest.look_up(ROOT, "file");
    let fh = guest.open(node, libc::O_RDWR);
    guest.get(&write(node, fh, 1 << 19, &vec![1; 1 << 16], 0, 0));
    let seek = |offset, whence| {
        let reply = guest.ask(&lseek(node, fh, offset, whence));
        if reply.errno == 0 { Ok(long(&reply.body, 0)) } else { Err(reply.errno) }
    };
    let data = seek(0, libc::SEEK_DATA).unwrap();
    assert!(data == 1 << 19 || data == 0, "{data:#x}"); // 0: the file system knows no holes
    assert_eq!(seek(1 << 19, libc::SEEK_DATA), Ok(1 << 19));
    assert_eq!(seek(1 << 19, libc::SEEK_HOLE), Ok(if data == 0 { 1 << 20 } else { (1 << 19) + (1 << 16) }));
    assert_eq!(seek(1 << 20, libc::SEEK_DATA), Err(libc::ENXIO));
    assert_eq!([libc::SEEK_SET, libc::SEEK_CUR, libc::SEEK_END].map(|whence| seek(0, whence)), [Err(libc::EINVAL); 3]);

    let blocks = || std::fs::metadata(&path).unwrap().blocks();
    let before = blocks();
    assert_eq!(guest.errno(&fallocate(node, fh, 0, 0, 1 << 19)), 0);
    assert!(blocks() > before || data == 0);
    assert_eq!(guest.errno(&fallocate(node, fh, 0, 0, 2 << 20)), 0);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 2 << 20);
    assert_eq!(guest.errno(&fallocate(node, fh, 1 << 30, 0, 4096)), libc::EOPNOTSUPP);
}

#[test]
fn a_file_that_is_not_open_can_not_be_written_out() {
    let directory = Directory::new("sync");
    directory.write("file", "");
    let guest = directory.served(OPTIONS);
    let node = guest.look_up(ROOT, "file");
    let (fh, inner) = (guest.open(node, libc::O_RDWR), guest.opendir(ROOT));
    let all = |node, fh| [fsync(node, fh, false), flush(node, fh)].map(|request| guest.errno(&request));
    assert_eq!((all(node, fh), guest.errno(&fsyncdir(ROOT, inner))), ([0; 2], 0));
    assert_eq!((all(ROOT, fh), guest.errno(&fsyncdir(node, inner))), ([libc::EBADF; 2], libc::EBADF));
    assert_eq!(guest.errno(&release(ROOT, fh)), libc::EBADF, "of another inode");
    assert_eq!([release(node, fh), releasedir(ROOT, inner)].map(|request| guest.errno(&request)), [0; 2]);
    assert_eq!((all(node, fh), guest.errno(&fsyncdir(ROOT, inner))), ([libc::EBADF; 2], libc::EBADF));
    assert_eq!([release(node, fh), releasedir(ROOT, inner)].map(|request| guest.errno(&request)), [libc::EBADF; 2]);
}

#[test]
fn nothing_of_a_read_only_share_is_changed_not_even_the_time_of_the_last_reading() {
    let directory = Directory::new("readonly");
    let path = directory.write("file", "content");
    std::fs::create_dir(directory.path("inner")).unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1000);
    file.set_times(std::fs::FileTimes::new().set_accessed(old).set_modified(old)).unwrap();
    let guest = directory.served(Options { readonly: true, ..OPTIONS });
    let node = guest.look_up(ROOT, "file");
    let fh = guest.open(node, libc::O_RDONLY);
    assert_eq!(guest.get(&read(node, fh, 0, 100)), b"content");
    assert_eq!(std::fs::metadata(&path).unwrap().accessed().unwrap(), old);
    let changes = [
        SetAttr { valid: FATTR_MODE, ..SetAttr::default() }.of(node),
        open(node, libc::O_RDWR),
        open(node, libc::O_RDONLY | libc::O_TRUNC),
        create(ROOT, "file", libc::O_RDONLY, 0, 0),
        mknod(ROOT, "new", libc::S_IFCHR, 0),
        mkdir(ROOT, "new", 0, 0),
        symlink(ROOT, "new", "x"),
        link(node, ROOT, "new"),
        unlink(ROOT, "file"),
        rmdir(ROOT, "inner"),
        rename(ROOT, "file", ROOT, "new", 0),
        setxattr(node, "user.x", b"", 0),
        removexattr(node, "user.x"),
        fallocate(node, fh, 0, 0, 1),
    ];
    for request in changes {
        assert_eq!(guest.errno(&request), libc::EROFS, "{request:?}");
    }
}
