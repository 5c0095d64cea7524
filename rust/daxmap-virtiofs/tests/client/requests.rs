//! Each request by its name: `include/uapi/linux/fuse.h`.

use super::{NO_FH, Request};
use daxmap_core::page_size;

pub(crate) const FATTR_MODE: u32 = 1 << 0;
pub(crate) const FATTR_UID: u32 = 1 << 1;
pub(crate) const FATTR_GID: u32 = 1 << 2;
pub(crate) const FATTR_SIZE: u32 = 1 << 3;
pub(crate) const FATTR_ATIME: u32 = 1 << 4;
pub(crate) const FATTR_MTIME: u32 = 1 << 5;
pub(crate) const FATTR_FH: u32 = 1 << 6;
pub(crate) const FATTR_ATIME_NOW: u32 = 1 << 7;
pub(crate) const FATTR_MTIME_NOW: u32 = 1 << 8;

/// `struct fuse_setattr_in`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SetAttr {
    /// Which of the others count.
    pub(crate) valid: u32,
    pub(crate) fh: u64,
    pub(crate) size: u64,
    /// Of access and of modification, in seconds.
    pub(crate) times: [u64; 2],
    pub(crate) nanoseconds: [u32; 2],
    pub(crate) mode: u32,
    pub(crate) owner: [u32; 2],
}

impl SetAttr {
    pub(crate) fn of(self, node: u64) -> Request {
        let Self { valid, fh, size, times, nanoseconds, mode, owner } = self;
        let request = Request::new(4, node).words(&[valid, 0]).longs(&[fh, size, 0]).longs(&times).longs(&[0]);
        request.words(&nanoseconds).words(&[0, mode, 0]).words(&owner).words(&[0])
    }
}

pub(crate) fn lookup(parent: u64, name: &str) -> Request {
    Request::new(1, parent).name(name)
}

pub(crate) fn forget(node: u64, times: u64) -> Request {
    Request::new(2, node).longs(&[times])
}

pub(crate) fn getattr(node: u64) -> Request {
    Request::new(3, node).words(&[0, 0]).longs(&[0])
}

pub(crate) fn getattr_of(node: u64, fh: u64) -> Request {
    Request::new(3, node).words(&[1, 0]).longs(&[fh]) // FUSE_GETATTR_FH
}

pub(crate) fn readlink(node: u64) -> Request {
    Request::new(5, node)
}

pub(crate) fn symlink(parent: u64, name: &str, target: &str) -> Request {
    Request::new(6, parent).name(name).name(target)
}

pub(crate) fn mknod(parent: u64, name: &str, mode: u32, umask: u32) -> Request {
    Request::new(8, parent).words(&[mode, 0, umask, 0]).name(name)
}

pub(crate) fn mkdir(parent: u64, name: &str, mode: u32, umask: u32) -> Request {
    Request::new(9, parent).words(&[mode, umask]).name(name)
}

pub(crate) fn unlink(parent: u64, name: &str) -> Request {
    Request::new(10, parent).name(name)
}

pub(crate) fn rmdir(parent: u64, name: &str) -> Request {
    Request::new(11, parent).name(name)
}

pub(crate) fn link(node: u64, parent: u64, name: &str) -> Request {
    Request::new(13, parent).longs(&[node]).name(name)
}

pub(crate) fn open(node: u64, flags: i32) -> Request {
    Request::new(14, node).words(&[flags.cast_unsigned(), 0])
}

pub(crate) fn read(node: u64, fh: u64, offset: u64, size: u32) -> Request {
    Request::new(15, node).longs(&[fh, offset]).words(&[size, 0]).longs(&[0, 0])
}

/// `write_flags` say that the data is of pages that the guest writes back (1), `flags` how its file was opened.
pub(crate) fn write(node: u64, fh: u64, offset: u64, data: &[u8], write_flags: u32, flags: i32) -> Request {
    let size = u32::try_from(data.len()).unwrap();
    let request = Request::new(16, node).longs(&[fh, offset]).words(&[size, write_flags]).longs(&[0]);
    request.words(&[flags.cast_unsigned(), 0]).bytes(data)
}

pub(crate) fn statfs(node: u64) -> Request {
    Request::new(17, node)
}

pub(crate) fn release(node: u64, fh: u64) -> Request {
    Request::new(18, node).longs(&[fh, 0, 0])
}

/// The data alone, or all of the file.
pub(crate) fn fsync(node: u64, fh: u64, data_only: bool) -> Request {
    Request::new(20, node).longs(&[fh]).words(&[u32::from(data_only), 0])
}

pub(crate) fn setxattr(node: u64, name: &str, value: &[u8], flags: i32) -> Request {
    let size = u32::try_from(value.len()).unwrap();
    Request::new(21, node).words(&[size, flags.cast_unsigned()]).name(name).bytes(value)
}

pub(crate) fn getxattr(node: u64, name: &str, size: u32) -> Request {
    Request::new(22, node).words(&[size, 0]).name(name)
}

pub(crate) fn listxattr(node: u64, size: u32) -> Request {
    Request::new(23, node).words(&[size, 0])
}

pub(crate) fn removexattr(node: u64, name: &str) -> Request {
    Request::new(24, node).name(name)
}

pub(crate) fn flush(node: u64, fh: u64) -> Request {
    Request::new(25, node).longs(&[fh, 0, 0])
}

/// With flags of 64 bits, those above 31 in `flags2`.
pub(crate) fn init(major: u32, flags: u64) -> Request {
    let halves = [flags & 0xffff_ffff, flags >> 32].map(|half| u32::try_from(half).unwrap());
    Request::new(26, 0).words(&[major, 41, 128 << 10, halves[0], halves[1]]).bytes(&[0; 44])
}

pub(crate) fn opendir(node: u64) -> Request {
    Request::new(27, node).words(&[0, 0])
}

pub(crate) fn readdir(node: u64, fh: u64, offset: u64, size: u32) -> Request {
    Request::new(28, node).longs(&[fh, offset]).words(&[size, 0]).longs(&[0, 0])
}

pub(crate) fn releasedir(node: u64, fh: u64) -> Request {
    Request::new(29, node).longs(&[fh, 0, 0])
}

pub(crate) fn fsyncdir(node: u64, fh: u64) -> Request {
    Request::new(30, node).longs(&[fh, 0])
}

pub(crate) fn create(parent: u64, name: &str, flags: i32, mode: u32, umask: u32) -> Request {
    Request::new(35, parent).words(&[flags.cast_unsigned(), mode, umask, 0]).name(name)
}

pub(crate) fn destroy() -> Request {
    Request::new(38, 0)
}

/// Each inode once.
pub(crate) fn batch_forget(nodes: &[u64]) -> Request {
    let count = u32::try_from(nodes.len()).unwrap();
    nodes.iter().fold(Request::new(42, 0).words(&[count, 0]), |request, node| request.longs(&[*node, 1]))
}

pub(crate) fn fallocate(node: u64, fh: u64, mode: i32, offset: u64, length: u64) -> Request {
    Request::new(43, node).longs(&[fh, offset, length]).words(&[mode.cast_unsigned(), 0])
}

pub(crate) fn readdirplus(node: u64, fh: u64, offset: u64, size: u32) -> Request {
    Request::new(44, node).longs(&[fh, offset]).words(&[size, 0]).longs(&[0, 0])
}

pub(crate) fn rename(from: u64, name: &str, to: u64, new_name: &str, flags: u32) -> Request {
    Request::new(45, from).longs(&[to]).words(&[flags, 0]).name(name).name(new_name)
}

pub(crate) fn lseek(node: u64, fh: u64, offset: u64, whence: i32) -> Request {
    Request::new(46, node).longs(&[fh, offset]).words(&[whence.cast_unsigned(), 0])
}

/// Maps the first page of a file at a page of the window, by no open file.
pub(crate) fn map(node: u64, writable: bool, page: u64) -> Request {
    map_by(node, NO_FH, writable, page)
}

/// The same by an open file.
pub(crate) fn map_by(node: u64, fh: u64, writable: bool, page: u64) -> Request {
    let flags = 2 | u64::from(writable); // FUSE_SETUPMAPPING_FLAG_READ and _WRITE
    Request::new(48, node).longs(&[fh, 0, page_size(), flags, page * page_size()])
}
