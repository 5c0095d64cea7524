//! Requests as a guest writes them.

pub(crate) const LOOKUP: u32 = 1;
pub(crate) const GETATTR: u32 = 3;
pub(crate) const SETATTR: u32 = 4;
pub(crate) const SYMLINK: u32 = 6;
pub(crate) const MKNOD: u32 = 8;
pub(crate) const MKDIR: u32 = 9;
pub(crate) const UNLINK: u32 = 10;
pub(crate) const RMDIR: u32 = 11;
pub(crate) const RENAME: u32 = 12;
pub(crate) const LINK: u32 = 13;
pub(crate) const OPEN: u32 = 14;
pub(crate) const READ: u32 = 15;
pub(crate) const WRITE: u32 = 16;
pub(crate) const SETXATTR: u32 = 21;
pub(crate) const REMOVEXATTR: u32 = 24;
pub(crate) const INIT: u32 = 26;
pub(crate) const OPENDIR: u32 = 27;
pub(crate) const CREATE: u32 = 35;
pub(crate) const DESTROY: u32 = 38;
pub(crate) const FALLOCATE: u32 = 43;
pub(crate) const READDIRPLUS: u32 = 44;
pub(crate) const RENAME2: u32 = 45;
pub(crate) const SETUPMAPPING: u32 = 48;
pub(crate) const REMOVEMAPPING: u32 = 49;

/// A request with a right header. Its number, `unique`, is 7.
pub(crate) fn message(opcode: u32, nodeid: u64, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(40 + body.len()).unwrap();
    let mut message = words(&[length, opcode]);
    message.extend(longs(&[7, nodeid, 0, 0]));
    message.extend(body);
    message
}

/// SETUPMAPPING. `flags` is 2 for READ, 3 for READ and WRITE.
pub(crate) fn setup(nodeid: u64, file_offset: u64, length: u64, flags: u64, window_offset: u64) -> Vec<u8> {
    message(SETUPMAPPING, nodeid, &longs(&[u64::MAX, file_offset, length, flags, window_offset]))
}

/// REMOVEMAPPING of ranges by window offset and length.
pub(crate) fn remove(ranges: &[(u64, u64)]) -> Vec<u8> {
    let mut body = words(&[u32::try_from(ranges.len()).unwrap()]);
    body.extend(ranges.iter().flat_map(|(offset, length)| longs(&[*offset, *length])));
    message(REMOVEMAPPING, 1, &body)
}

/// The body of an INIT of FUSE 7.38.
pub(crate) fn init(flags: u32, flags2: u32) -> Vec<u8> {
    let mut body = words(&[7, 38, 0x2_0000, flags, flags2]);
    body.resize(64, 0);
    body
}

pub(crate) fn words(all: &[u32]) -> Vec<u8> {
    all.iter().flat_map(|word| word.to_le_bytes()).collect()
}

pub(crate) fn longs(all: &[u64]) -> Vec<u8> {
    all.iter().flat_map(|long| long.to_le_bytes()).collect()
}

/// The same message, with the length in its header made right, if it has room for one.
pub(crate) fn with_right_length(mut message: Vec<u8>) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    if let Some(of_header) = message.first_chunk_mut() {
        *of_header = length.to_le_bytes();
    }
    message
}
