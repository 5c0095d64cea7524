//! A guest that knows a share, and each request that it may send: `include/uapi/linux/fuse.h`.

use crate::client::requests::{link as link_to, *};
use crate::client::{ROOT, Request, USER, ask, long};
use daxmap_core::page_size;
use daxmap_virtiofs::FileServer;

/// The times of access and of modification that a guest sets, in seconds.
pub(crate) const SET_TIMES: [u64; 2] = [1000, 2000];

/// What a guest knows that has looked around.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    a: u64,
    b: u64,
    pub(crate) d: u64,
    /// In `d`.
    x: u64,
    link: u64,
    /// An empty directory.
    empty: u64,
    /// `a`, open for reading and writing.
    fh: u64,
    /// `d`, open.
    directory: u64,
    /// The share itself, open.
    root: u64,
}

/// Of a guest that offers all that there is.
pub(crate) fn first_init() -> Request {
    init(7, u64::from(u32::MAX) | 1 << 33)
}

impl Known {
    /// Mounts the share, and looks around.
    pub(crate) fn mount(server: &FileServer) -> Self {
        let done = |request: &Request| {
            let reply = ask(server, request);
            assert_eq!(reply.errno, 0, "{request:?}");
            reply.body
        };
        let node = |parent, name| long(&done(&lookup(parent, name)), 0);
        done(&first_init());
        let [a, b, d, link, empty] = ["a", "b", "d", "link", "empty"].map(|name| node(ROOT, name));
        let x = node(d, "x");
        let fh = long(&done(&open(a, libc::O_RDWR)), 0);
        let [directory, root] = [d, ROOT].map(|node| long(&done(&opendir(node)), 0));
        done(&map(b, false, 0));
        done(&map_by(a, fh, true, 1));
        Self { a, b, d, x, link, empty, fh, directory, root }
    }

    pub(crate) fn nodes(&self) -> [u64; 6] {
        [self.a, self.b, self.d, self.x, self.link, self.empty]
    }

    /// Every request that a server answers, and some that it knows nothing of.
    #[allow(clippy::too_many_lines)] // a line each
    pub(crate) fn requests(&self) -> Vec<(&'static str, Request)> {
        let Self { a, b, d, x, link, empty, fh, directory, root } = *self;
        let new = Request::new;
        let set =
            |node, valid, what: SetAttr| SetAttr { valid, fh, times: SET_TIMES, nanoseconds: [1, 2], ..what }.of(node);
        let unset = SetAttr::default();
        let mode = SetAttr { mode: 0o100_600, ..unset };
        let owner = SetAttr { owner: [USER, USER], ..unset };
        let size = SetAttr { size: 10, ..unset };
        let (both_ids, both_times) = (FATTR_UID | FATTR_GID, FATTR_ATIME | FATTR_MTIME);
        let make = |flags: i32, name| create(d, name, libc::O_RDWR | flags, 0o644, 0o22);
        vec![
            ("INIT", first_init()),
            ("LOOKUP of what is known", lookup(d, "x")),
            ("LOOKUP of what is new", lookup(ROOT, "c")),
            ("LOOKUP of what is not there", lookup(ROOT, "none")),
            ("FORGET", forget(x, 1)),
            ("BATCH_FORGET", batch_forget(&[b, x])),
            ("GETATTR", getattr(x)),
            ("GETATTR by handle", getattr_of(a, fh)),
            ("SETATTR of the mode", set(x, FATTR_MODE, mode)),
            ("SETATTR of the owner", set(x, both_ids, owner)),
            ("SETATTR of a link's owner", set(link, both_ids, owner)),
            ("SETATTR of the size", set(x, FATTR_SIZE, size)),
            ("SETATTR of the size by handle", set(a, FATTR_SIZE | FATTR_FH, size)),
            ("SETATTR of times", set(x, both_times, unset)),
            ("SETATTR of times to now", set(x, both_times | FATTR_ATIME_NOW | FATTR_MTIME_NOW, unset)),
            ("READLINK", readlink(link)),
            ("SYMLINK", symlink(d, "made", "target")),
            ("MKNOD of a file", mknod(d, "made", 0o100_644, 0o22)),
            ("MKNOD of a FIFO", mknod(d, "made", 0o10_644, 0o22)),
            ("MKDIR", mkdir(d, "made", 0o755, 0o22)),
            ("UNLINK of what is open", unlink(ROOT, "a")),
            ("UNLINK of what is mapped", unlink(ROOT, "b")),
            ("UNLINK of what nobody knows", unlink(ROOT, "c")),
            ("RMDIR", rmdir(ROOT, "empty")),
            ("RENAME", new(12, ROOT).longs(&[d]).name("a").name("made")),
            ("RENAME2 over another", rename(ROOT, "a", ROOT, "b", 0)),
            ("RENAME2 with NOREPLACE", rename(ROOT, "a", d, "made", libc::RENAME_NOREPLACE)),
            ("RENAME2 with EXCHANGE", rename(ROOT, "a", d, "x", libc::RENAME_EXCHANGE)),
            ("LINK", link_to(b, d, "made")),
            ("OPEN to read", open(x, libc::O_RDONLY)),
            ("OPEN to write", open(x, libc::O_RDWR)),
            ("OPEN with O_TRUNC", open(x, libc::O_WRONLY | libc::O_TRUNC)),
            ("READ", read(a, fh, 0, 4096)),
            ("WRITE", write(a, fh, 4, b"abcdef", 0, 0)),
            ("WRITE at the end", write(a, fh, 4, b"abcdef", 0, libc::O_APPEND)),
            ("STATFS", statfs(x)),
            ("RELEASE", release(a, fh)),
            ("FSYNC", fsync(a, fh, false)),
            ("FSYNC of data", fsync(a, fh, true)),
            ("SETXATTR", setxattr(b, "user.y", b"abc", 0)),
            ("GETXATTR", getxattr(b, "user.x", 100)),
            ("GETXATTR, of the length", getxattr(b, "user.x", 0)),
            ("LISTXATTR", listxattr(b, 100)),
            ("REMOVEXATTR", removexattr(b, "user.x")),
            ("FLUSH", flush(a, fh)),
            ("OPENDIR", opendir(d)),
            ("READDIR", readdir(d, directory, 0, 4096)),
            ("READDIR of the root", readdir(ROOT, root, 0, 4096)),
            ("READDIRPLUS", readdirplus(d, directory, 0, 4096)),
            ("RELEASEDIR", releasedir(d, directory)),
            ("FSYNCDIR", fsyncdir(d, directory)),
            ("CREATE", make(0, "made")),
            ("CREATE with O_EXCL", make(libc::O_EXCL, "made")),
            ("CREATE of what is there", make(0, "x")),
            ("CREATE of what is there, with O_TRUNC", make(libc::O_TRUNC, "x")),
            ("FALLOCATE", fallocate(a, fh, 0, 0, 8192)),
            ("LSEEK", lseek(a, fh, 0, libc::SEEK_DATA)),
            ("SETUPMAPPING to read", map(x, false, 4)),
            ("SETUPMAPPING to write", map(x, true, 4)),
            ("SETUPMAPPING by handle", map_by(a, fh, true, 4)),
            ("SETUPMAPPING over another", map(x, false, 0)),
            ("SETUPMAPPING that upgrades", map(b, true, 0)),
            ("REMOVEMAPPING of one", new(49, 0).words(&[1]).longs(&[0, page_size()])),
            ("REMOVEMAPPING of all", new(49, 0).words(&[1]).longs(&[0, u64::MAX])),
            ("DESTROY", destroy()),
            ("RMDIR of what is not empty", rmdir(ROOT, "d")),
            ("OPEN of a directory", open(empty, libc::O_RDONLY)),
            ("GETLK", new(31, a)),
            ("ACCESS", new(34, a)),
            ("IOCTL", new(39, a)),
            ("POLL", new(40, a)),
            ("COPY_FILE_RANGE", new(47, a)),
            ("SYNCFS", new(50, ROOT)),
            ("TMPFILE", new(51, ROOT)),
            ("STATX", new(52, a)),
        ]
    }
}
