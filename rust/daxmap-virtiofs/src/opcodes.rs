//! The requests by number, and the little of their formats that is needed beside `fuse-backend-rs`: READ and WRITE, whose
//! data goes to and from the guest's memory directly, and how long replies get.

use daxmap_core::fuse::HEADER_SIZE;

const LOOKUP: u32 = 1;
pub(crate) const FORGET: u32 = 2;
pub(crate) const GETATTR: u32 = 3;
pub(crate) const SETATTR: u32 = 4;
const READLINK: u32 = 5;
const SYMLINK: u32 = 6;
const MKNOD: u32 = 8;
const MKDIR: u32 = 9;
const UNLINK: u32 = 10;
const RMDIR: u32 = 11;
const RENAME: u32 = 12;
const LINK: u32 = 13;
const OPEN: u32 = 14;
pub(crate) const READ: u32 = 15;
pub(crate) const WRITE: u32 = 16;
const STATFS: u32 = 17;
const RELEASE: u32 = 18;
const FSYNC: u32 = 20;
const SETXATTR: u32 = 21;
const GETXATTR: u32 = 22;
const LISTXATTR: u32 = 23;
const REMOVEXATTR: u32 = 24;
const FLUSH: u32 = 25;
const OPENDIR: u32 = 27;
const READDIR: u32 = 28;
const RELEASEDIR: u32 = 29;
const FSYNCDIR: u32 = 30;
pub(crate) const CREATE: u32 = 35;
pub(crate) const INTERRUPT: u32 = 36;
pub(crate) const DESTROY: u32 = 38;
pub(crate) const NOTIFY_REPLY: u32 = 41;
pub(crate) const BATCH_FORGET: u32 = 42;
const FALLOCATE: u32 = 43;
const READDIRPLUS: u32 = 44;
const RENAME2: u32 = 45;
const LSEEK: u32 = 46;

/// The requests that `fuse-backend-rs` decodes. Of the others, those that it knows are not offered; a guest gets ENOSYS, and
/// does without them.
pub(crate) const FILES: [u32; 31] = [
    LOOKUP,
    FORGET,
    GETATTR,
    SETATTR,
    READLINK,
    SYMLINK,
    MKNOD,
    MKDIR,
    UNLINK,
    RMDIR,
    RENAME,
    LINK,
    OPEN,
    STATFS,
    RELEASE,
    FSYNC,
    SETXATTR,
    GETXATTR,
    LISTXATTR,
    REMOVEXATTR,
    FLUSH,
    OPENDIR,
    READDIR,
    RELEASEDIR,
    FSYNCDIR,
    CREATE,
    BATCH_FORGET,
    FALLOCATE,
    READDIRPLUS,
    RENAME2,
    LSEEK,
];

/// The most that a READ is asked for, and gives: what INIT grants, 256 pages of the largest kind.
pub(crate) const LARGEST_READ: usize = 256 * (64 << 10);
/// Enough for every reply whose length the guest does not choose, but for the target of a symbolic link.
const OTHERS: usize = 256;
const LONGEST_TARGET: usize = 4096;

/// Where READ, READDIR and READDIRPLUS have the size that the guest wants.
const READ_SIZE: std::ops::Range<usize> = HEADER_SIZE + 16..HEADER_SIZE + 20;
/// Where GETXATTR and LISTXATTR have it.
const XATTR_SIZE: std::ops::Range<usize> = HEADER_SIZE..HEADER_SIZE + 4;

/// Whether a request has no reply, whatever becomes of it.
pub(crate) fn has_no_reply(opcode: u32) -> bool {
    matches!(opcode, FORGET | BATCH_FORGET | INTERRUPT | NOTIFY_REPLY)
}

/// How long the reply to a request may get, in bytes.
pub(crate) fn room_for(request: &[u8]) -> usize {
    let opcode = word(request, 4..8).unwrap_or(0);
    let wanted = match size_range(opcode) {
        Some(range) => word(request, range).and_then(|size| usize::try_from(size).ok()).unwrap_or(0),
        None if opcode == READLINK => LONGEST_TARGET,
        None => 0,
    };
    OTHERS.saturating_add(wanted)
}

/// Has a directory read in a piece that fits into `room` bytes, if the guest wants more.
pub(crate) fn limit_to(room: usize, opcode: u32, message: &mut [u8]) {
    if matches!(opcode, READDIR | READDIRPLUS)
        && let Some(size) = message.get_mut(READ_SIZE)
        && let Ok(wanted) = <[u8; 4]>::try_from(&*size)
    {
        let most = u32::try_from(room.saturating_sub(16)).unwrap_or(u32::MAX);
        size.copy_from_slice(&u32::from_le_bytes(wanted).min(most).to_le_bytes());
    }
}

fn size_range(opcode: u32) -> Option<std::ops::Range<usize>> {
    match opcode {
        READ | READDIR | READDIRPLUS => Some(READ_SIZE),
        GETXATTR | LISTXATTR => Some(XATTR_SIZE),
        _ => None,
    }
}

/// `struct fuse_read_in`, as far as it matters.
pub(crate) struct ReadIn {
    pub(crate) fh: u64,
    pub(crate) offset: u64,
    pub(crate) size: usize,
}

impl ReadIn {
    pub(crate) fn decode(message: &[u8]) -> Option<Self> {
        if message.len() != HEADER_SIZE + 40 {
            return None;
        }
        Some(Self {
            fh: long(message, HEADER_SIZE)?,
            offset: long(message, HEADER_SIZE + 8)?,
            size: usize::try_from(word(message, READ_SIZE)?).ok()?,
        })
    }
}

/// `struct fuse_write_in`, as far as it matters.
pub(crate) struct WriteIn {
    pub(crate) fh: u64,
    pub(crate) offset: u64,
    pub(crate) size: usize,
    /// Whether the data goes to the file's end, wherever that is by now. Not that of pages which the guest writes back.
    pub(crate) appends: bool,
}

impl WriteIn {
    pub(crate) fn decode(message: &[u8]) -> Option<Self> {
        const WRITE_CACHE: u32 = 1 << 0;
        let write_flags = word(message, HEADER_SIZE + 20..HEADER_SIZE + 24)?;
        let flags = word(message, HEADER_SIZE + 32..HEADER_SIZE + 36)?;
        Some(Self {
            fh: long(message, HEADER_SIZE)?,
            offset: long(message, HEADER_SIZE + 8)?,
            size: usize::try_from(word(message, READ_SIZE)?).ok()?,
            appends: flags & libc::O_APPEND.cast_unsigned() != 0 && write_flags & WRITE_CACHE == 0,
        })
    }
}

/// The reply to a WRITE of which so many bytes were written: `struct fuse_write_out`.
pub(crate) fn write_out(unique: u64, written: usize) -> Vec<u8> {
    let mut reply = Vec::with_capacity(24);
    reply.extend(24_u32.to_le_bytes());
    reply.extend(0_i32.to_le_bytes());
    reply.extend(unique.to_le_bytes());
    reply.extend(u32::try_from(written).unwrap_or(u32::MAX).to_le_bytes());
    reply.extend([0; 4]);
    reply
}

fn word(message: &[u8], range: std::ops::Range<usize>) -> Option<u32> {
    Some(u32::from_le_bytes(message.get(range)?.try_into().ok()?))
}

fn long(message: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*message.get(at..)?.first_chunk()?))
}
