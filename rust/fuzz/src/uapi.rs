//! Messages read once more, straight from the kernel's `include/uapi/linux/fuse.h`, and apart from daxmap's own decoder: the
//! two have to agree.

/// The number of `width` bytes, little endian, that lies `at` so many bytes into a message; none where that ends before.
pub(crate) fn field(message: &[u8], at: usize, width: usize) -> Option<u64> {
    let bytes = message.get(at..at + width)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// `struct fuse_in_header`. The user, the group and the process at 24, 28 and 32 don't matter.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InHeader {
    pub(crate) len: u64,
    pub(crate) opcode: u64,
    pub(crate) unique: u64,
    pub(crate) nodeid: u64,
    pub(crate) total_extlen: u64,
}

impl InHeader {
    pub(crate) const SIZE: usize = 40;

    pub(crate) fn of(message: &[u8]) -> Option<Self> {
        let _padding = field(message, 38, 2)?;
        Some(Self {
            len: field(message, 0, 4)?,
            opcode: field(message, 4, 4)?,
            unique: field(message, 8, 8)?,
            nodeid: field(message, 16, 8)?,
            total_extlen: field(message, 36, 2)?,
        })
    }
}

/// What a message means to the DAX part of a device.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    Setup { nodeid: u64, fh: Option<u64>, file_offset: u64, length: u64, window_offset: u64, writable: bool },
    Remove(Vec<(u64, u64)>),
    RemoveAll,
    Init { major: u64, flags: u64 },
    Destroy,
    Other,
    Malformed,
}

/// What a message means; none where it is too short for a header.
pub(crate) fn meaning(message: &[u8]) -> Option<Meaning> {
    let header = InHeader::of(message)?;
    let body = &message[InHeader::SIZE..];
    let is_right = header.len == message.len() as u64 && header.total_extlen == 0;
    Some(match header.opcode {
        48 if is_right => setup(header.nodeid, body).unwrap_or(Meaning::Malformed),
        49 if is_right => removal(body).unwrap_or(Meaning::Malformed),
        48 | 49 => Meaning::Malformed,
        26 if is_right => init(body).unwrap_or(Meaning::Other),
        38 if is_right && body.is_empty() => Meaning::Destroy,
        _ => Meaning::Other,
    })
}

/// `struct fuse_setupmapping_in`: fh, foffset, len, flags (1 to write, 2 to read), moffset.
fn setup(nodeid: u64, body: &[u8]) -> Option<Meaning> {
    let fh = field(body, 0, 8)?;
    let flags = field(body, 24, 8)?;
    let meaning = Meaning::Setup {
        nodeid,
        fh: if fh == u64::MAX { None } else { Some(fh) },
        file_offset: field(body, 8, 8)?,
        length: field(body, 16, 8)?,
        window_offset: field(body, 32, 8)?,
        writable: flags == 3,
    };
    (body.len() == 40 && (2..=3).contains(&flags)).then_some(meaning)
}

/// `struct fuse_removemapping_in`, a count, and as many `struct fuse_removemapping_one`: moffset, len.
fn removal(body: &[u8]) -> Option<Meaning> {
    let count = field(body, 0, 4)?;
    if !(1..=4096).contains(&count) || body.len() as u64 != 4 + 16 * count {
        return None;
    }
    let mut ranges = Vec::new();
    for at in (4..body.len()).step_by(16) {
        ranges.push((field(body, at, 8)?, field(body, at + 8, 8)?));
    }
    match ranges.iter().filter(|(_, length)| *length == u64::MAX).count() {
        0 => Some(Meaning::Remove(ranges)),
        1 if count == 1 => Some(Meaning::RemoveAll),
        _ => None,
    }
}

/// `struct fuse_init_in`: major, minor, `max_readahead`, flags, and in newer ones flags2.
fn init(body: &[u8]) -> Option<Meaning> {
    let flags = field(body, 12, 4)?;
    let flags2 = field(body, 16, 4).unwrap_or(0);
    Some(Meaning::Init { major: field(body, 0, 4)?, flags: all_flags(flags, flags2) })
}

/// The upper flags count where `FUSE_INIT_EXT`, flag 30, is set.
fn all_flags(flags: u64, flags2: u64) -> u64 {
    if flags >> 30 & 1 == 1 { flags + (flags2 << 32) } else { flags }
}

/// What Linux reads of a reply to INIT: `process_init_reply` in `fs/fuse/inode.c`, which takes what is missing for zeros.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InitOut {
    pub(crate) flags: u64,
    pub(crate) map_alignment: u64,
}

impl InitOut {
    pub(crate) fn of(reply: &[u8]) -> Self {
        let mut whole = reply.to_vec();
        whole.resize(reply.len().max(16 + 64), 0);
        let at = |offset: usize, width| field(&whole, 16 + offset, width).unwrap();
        Self { flags: all_flags(at(12, 4), at(32, 4)), map_alignment: at(30, 2) }
    }
}

/// Whether Linux takes a reply to request number `unique`: `virtio_fs_verify_response` in `fs/fuse/virtio_fs.c`.
pub(crate) fn takes(unique: u64, reply: &[u8]) -> bool {
    let Some(of_reply) = field(reply, 8, 8) else { return false };
    let is_error = |error: u64| error > u64::from(u32::MAX) - 511; // from -511 on, as a u32
    let error = field(reply, 4, 4).unwrap();
    let error_is_right = error == 0 || (is_error(error) && reply.len() == 16);
    field(reply, 0, 4) == Some(reply.len() as u64) && of_reply == unique && error_is_right
}
