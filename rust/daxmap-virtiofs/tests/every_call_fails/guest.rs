//! A guest that knows a share, and each request that it may send: `include/uapi/linux/fuse.h`.

use crate::client::{NO_FH, ROOT, Request, USER, ask, long};
use daxmap_virtiofs::FileServer;

/// The times of access and of modification that a guest sets, in seconds.
pub(crate) const SET_TIMES: [i64; 2] = [1000, 2000];
const PAGE: u64 = 4096;

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

pub(crate) fn init() -> Request {
    Request::new(26, 0).words(&[7, 41, 128 << 10, u32::MAX, 1 << 1]).bytes(&[0; 44])
}

pub(crate) fn destroy() -> Request {
    Request::new(38, 0)
}

pub(crate) fn look_up(parent: u64, name: &str) -> Request {
    Request::new(1, parent).name(name)
}

pub(crate) fn forget(nodeid: u64, times: u64) -> Request {
    Request::new(2, nodeid).longs(&[times])
}

pub(crate) fn get_attributes(nodeid: u64) -> Request {
    Request::new(3, nodeid).words(&[0, 0]).longs(&[0])
}

pub(crate) fn make_directory(name: &str) -> Request {
    Request::new(9, ROOT).words(&[0o755, 0o22]).name(name)
}

pub(crate) fn remove_directory(name: &str) -> Request {
    Request::new(11, ROOT).name(name)
}

/// Maps a page of a file at a page of the window.
fn map(nodeid: u64, fh: u64, page: u64, flags: u64) -> Request {
    Request::new(48, nodeid).longs(&[fh, 0, PAGE, flags, page * PAGE])
}

impl Known {
    /// Mounts the share, and looks around.
    pub(crate) fn mount(server: &FileServer) -> Self {
        let done = |request: &Request| {
            let reply = ask(server, request);
            assert_eq!(reply.errno, 0, "{request:?}");
            reply.body
        };
        let node = |parent, name| long(&done(&look_up(parent, name)), 0);
        done(&init());
        let [a, b, d, link, empty] = ["a", "b", "d", "link", "empty"].map(|name| node(ROOT, name));
        let x = node(d, "x");
        let fh = long(&done(&Request::new(14, a).words(&[2, 0])), 0);
        let [directory, root] = [d, ROOT].map(|node| long(&done(&Request::new(27, node).words(&[0, 0])), 0));
        done(&map(b, NO_FH, 0, 2));
        done(&map(a, fh, 1, 3));
        Self { a, b, d, x, link, empty, fh, directory, root }
    }

    pub(crate) fn nodes(&self) -> [u64; 6] {
        [self.a, self.b, self.d, self.x, self.link, self.empty]
    }

    fn set(&self, nodeid: u64, valid: u32, size: u64, mode: u32, owner: [u32; 2]) -> Request {
        let request = Request::new(4, nodeid)
            .words(&[valid, 0])
            .longs(&[self.fh, size, 0])
            .longs(&SET_TIMES.map(i64::cast_unsigned))
            .longs(&[0]);
        request.words(&[1, 2, 0, mode, 0, owner[0], owner[1], 0])
    }

    /// Every request that a server answers, and some that it knows nothing of.
    #[allow(clippy::too_many_lines)] // a line each
    pub(crate) fn requests(&self) -> Vec<(&'static str, Request)> {
        let Self { a, b, d, x, link, empty, fh, directory, root } = *self;
        let new = Request::new;
        let create = |flags: u32, parent, name| new(35, parent).words(&[flags, 0o644, 0o22, 0]).name(name);
        let rename =
            |flags: u32, to: u64, new_name| new(45, ROOT).longs(&[to]).words(&[flags, 0]).name("a").name(new_name);
        let with_fh = |opcode, nodeid, fh: u64, rest: &[u32]| new(opcode, nodeid).longs(&[fh]).words(rest);
        let read = |opcode, nodeid, fh: u64| new(opcode, nodeid).longs(&[fh, 0]).words(&[4096, 0]).longs(&[0, 0]);
        let write =
            |flags: u32| new(16, a).longs(&[fh, 4]).words(&[6, 0]).longs(&[0]).words(&[flags, 0]).bytes(b"abcdef");
        let xattr = |size: u32| new(22, b).words(&[size, 0]).name("user.x");
        vec![
            ("INIT", init()),
            ("LOOKUP of what is known", look_up(d, "x")),
            ("LOOKUP of what is new", look_up(ROOT, "c")),
            ("LOOKUP of what is not there", look_up(ROOT, "none")),
            ("FORGET", forget(x, 1)),
            ("BATCH_FORGET", new(42, 0).words(&[2, 0]).longs(&[b, 1, x, 1])),
            ("GETATTR", get_attributes(x)),
            ("GETATTR by handle", new(3, a).words(&[1, 0]).longs(&[fh])),
            ("SETATTR of the mode", self.set(x, 1, 0, 0o100_600, [0; 2])),
            ("SETATTR of the owner", self.set(x, 1 << 1 | 1 << 2, 0, 0, [USER, USER])),
            ("SETATTR of a link's owner", self.set(link, 1 << 1 | 1 << 2, 0, 0, [USER, USER])),
            ("SETATTR of the size", self.set(x, 1 << 3, 10, 0, [0; 2])),
            ("SETATTR of the size by handle", self.set(a, 1 << 3 | 1 << 6, 10, 0, [0; 2])),
            ("SETATTR of times", self.set(x, 1 << 4 | 1 << 5, 0, 0, [0; 2])),
            ("SETATTR of times to now", self.set(x, 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8, 0, 0, [0; 2])),
            ("READLINK", new(5, link)),
            ("SYMLINK", new(6, d).name("made").name("target")),
            ("MKNOD of a file", new(8, d).words(&[0o100_644, 0, 0o22, 0]).name("made")),
            ("MKNOD of a FIFO", new(8, d).words(&[0o10_644, 0, 0o22, 0]).name("made")),
            ("MKDIR", new(9, d).words(&[0o755, 0o22]).name("made")),
            ("UNLINK of what is open", new(10, ROOT).name("a")),
            ("UNLINK of what is mapped", new(10, ROOT).name("b")),
            ("UNLINK of what nobody knows", new(10, ROOT).name("c")),
            ("RMDIR", new(11, ROOT).name("empty")),
            ("RENAME", new(12, ROOT).longs(&[d]).name("a").name("made")),
            ("RENAME2 over another", rename(0, ROOT, "b")),
            ("RENAME2 with NOREPLACE", rename(1, d, "made")),
            ("RENAME2 with EXCHANGE", rename(2, d, "x")),
            ("LINK", new(13, d).longs(&[b]).name("made")),
            ("OPEN to read", new(14, x).words(&[0, 0])),
            ("OPEN to write", new(14, x).words(&[2, 0])),
            ("OPEN with O_TRUNC", new(14, x).words(&[0o1001, 0])),
            ("READ", read(15, a, fh)),
            ("WRITE", write(0)),
            ("WRITE at the end", write(libc::O_APPEND.unsigned_abs())),
            ("STATFS", new(17, x)),
            ("RELEASE", with_fh(18, a, fh, &[0; 4])),
            ("FSYNC", with_fh(20, a, fh, &[0, 0])),
            ("FSYNC of data", with_fh(20, a, fh, &[1, 0])),
            ("SETXATTR", new(21, b).words(&[3, 0]).name("user.y").bytes(b"abc")),
            ("GETXATTR", xattr(100)),
            ("GETXATTR, of the length", xattr(0)),
            ("LISTXATTR", new(23, b).words(&[100, 0])),
            ("REMOVEXATTR", new(24, b).name("user.x")),
            ("FLUSH", with_fh(25, a, fh, &[0; 4])),
            ("OPENDIR", new(27, d).words(&[0, 0])),
            ("READDIR", read(28, d, directory)),
            ("READDIR of the root", read(28, ROOT, root)),
            ("READDIRPLUS", read(44, d, directory)),
            ("RELEASEDIR", with_fh(29, d, directory, &[0; 4])),
            ("FSYNCDIR", with_fh(30, d, directory, &[0, 0])),
            ("CREATE", create(2, d, "made")),
            ("CREATE with O_EXCL", create(2 | 0o200, d, "made")),
            ("CREATE of what is there", create(2, d, "x")),
            ("CREATE of what is there, with O_TRUNC", create(0o1002, d, "x")),
            ("FALLOCATE", new(43, a).longs(&[fh, 0, 8192]).words(&[0, 0])),
            ("LSEEK", new(46, a).longs(&[fh, 0]).words(&[3, 0])),
            ("SETUPMAPPING to read", map(x, NO_FH, 4, 2)),
            ("SETUPMAPPING to write", map(x, NO_FH, 4, 3)),
            ("SETUPMAPPING by handle", map(a, fh, 4, 3)),
            ("SETUPMAPPING over another", map(x, NO_FH, 0, 2)),
            ("SETUPMAPPING that upgrades", map(b, NO_FH, 0, 3)),
            ("REMOVEMAPPING of one", new(49, 0).words(&[1]).longs(&[0, PAGE])),
            ("REMOVEMAPPING of all", new(49, 0).words(&[1]).longs(&[0, u64::MAX])),
            ("DESTROY", destroy()),
            ("RMDIR of what is not empty", new(11, ROOT).name("d")),
            ("OPEN of a directory", new(14, empty).words(&[0, 0])),
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
