//! Requests as values, and every check that needs nothing but the request.

use crate::addr::{FileOffset, WindowOffset};

/// Size of `struct fuse_in_header` in bytes.
pub const HEADER_SIZE: usize = 40;
/// The longest body of a request that is answered here, in bytes: a REMOVEMAPPING with 4,096 entries.
pub const LONGEST_BODY: usize = 4 + 16 * MOST_REMOVALS as usize;

/// Entries of one REMOVEMAPPING: a guest page full of them, and the largest pages are of 64 KiB
/// (`FUSE_REMOVEMAPPING_MAX_ENTRY`).
const MOST_REMOVALS: u32 = 4096;
/// Body of the shortest `struct fuse_init_in`: major, minor, `max_readahead`, flags.
const SHORTEST_INIT: usize = 16;
/// The handle that stands for "none: open the inode by its nodeid".
const NO_FH: u64 = u64::MAX;
/// The length that stands for "the whole window".
const WHOLE_WINDOW: u64 = u64::MAX;

const FLAG_WRITE: u64 = 1 << 0;
const FLAG_READ: u64 = 1 << 1;

const INIT: u32 = 26;
const DESTROY: u32 = 38;
const SETUPMAPPING: u32 = 48;
const REMOVEMAPPING: u32 = 49;

/// What is needed of a `struct fuse_in_header`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    length: u32,
    opcode: u32,
    unique: u64,
    nodeid: u64,
    extensions: u16,
}

/// SETUPMAPPING: map a range of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// The file's inode, as the guest numbers it.
    pub nodeid: u64,
    /// The handle of the open file, or none: a Linux guest sends none.
    pub fh: Option<u64>,
    /// Start of the range in the file.
    pub file_offset: FileOffset,
    /// Start of the range in the window.
    pub window_offset: WindowOffset,
    /// Length in bytes.
    pub length: u64,
    /// Whether the guest wants to store to it.
    pub writable: bool,
}

/// REMOVEMAPPING: remove mappings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// These: window offset, length in bytes.
    Of(Vec<(WindowOffset, u64)>),
    /// All there are.
    OfEverything,
}

/// A request that concerns DAX.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Setup(Setup),
    Remove(Removal),
    /// INIT (`init`) or DESTROY: whatever the guest had mapped, it knows nothing of it any more.
    Restart {
        init: bool,
    },
}

/// What is wrong with a request that breaks the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

impl Header {
    /// Reads the header at the start of a message and gives the message's other bytes, its body, too. None where the
    /// message is too short for a header: then there is nobody to answer.
    #[must_use]
    pub fn parse(message: &[u8]) -> Option<(Self, &[u8])> {
        let (length, rest) = message.split_first_chunk()?;
        let (opcode, rest) = rest.split_first_chunk()?;
        let (unique, rest) = rest.split_first_chunk()?;
        let (nodeid, rest) = rest.split_first_chunk()?;
        let (_uid_gid_pid, rest) = rest.split_first_chunk::<12>()?;
        let (extensions, rest) = rest.split_first_chunk()?;
        let (_padding, body) = rest.split_first_chunk::<2>()?;
        let header = Self {
            length: u32::from_le_bytes(*length),
            opcode: u32::from_le_bytes(*opcode),
            unique: u64::from_le_bytes(*unique),
            nodeid: u64::from_le_bytes(*nodeid),
            extensions: u16::from_le_bytes(*extensions),
        };
        Some((header, body))
    }

    /// Whether the request is to be shown to [`Dispatcher::answer`](super::Dispatcher::answer) at all.
    #[must_use]
    pub fn concerns_dax(&self) -> bool {
        matches!(self.opcode, INIT | DESTROY | SETUPMAPPING | REMOVEMAPPING)
    }

    /// The number by which the guest knows the reply.
    pub(crate) fn unique(&self) -> u64 {
        self.unique
    }

    pub(crate) fn is_setup(&self) -> bool {
        self.opcode == SETUPMAPPING
    }

    /// Holds the header to the message that it is of.
    fn check(&self, body: &[u8]) -> Result<(), Malformed> {
        if body.len().checked_add(HEADER_SIZE) != usize::try_from(self.length).ok() {
            return Err(Malformed("header.len differs from the message's length"));
        }
        if self.extensions != 0 {
            return Err(Malformed("it has extensions, and none are defined for it"));
        }
        Ok(())
    }
}

/// Decodes the request whose header is `header` and whose other bytes are `body`. None if it does not concern DAX, or
/// is a malformed INIT or DESTROY: whoever answers these refuses it.
pub(crate) fn decode(header: &Header, body: &[u8]) -> Result<Option<Request>, Malformed> {
    let checked = header.check(body);
    match header.opcode {
        SETUPMAPPING => checked.and_then(|()| setup(header.nodeid, body)).map(|setup| Some(Request::Setup(setup))),
        REMOVEMAPPING => checked.and_then(|()| removal(body)).map(|removal| Some(Request::Remove(removal))),
        INIT if checked.is_ok() && body.len() >= SHORTEST_INIT => Ok(Some(Request::Restart { init: true })),
        DESTROY if checked.is_ok() && body.is_empty() => Ok(Some(Request::Restart { init: false })),
        _ => Ok(None),
    }
}

/// `struct fuse_setupmapping_in`.
fn setup(nodeid: u64, body: &[u8]) -> Result<Setup, Malformed> {
    let ([fh, file_offset, length, flags, window_offset], []) = body.as_chunks() else {
        return Err(Malformed("the body of a SETUPMAPPING has 40 bytes"));
    };
    let fh = u64::from_le_bytes(*fh);
    let flags = u64::from_le_bytes(*flags);
    if flags != FLAG_READ && flags != FLAG_READ | FLAG_WRITE {
        return Err(Malformed("the flags of a SETUPMAPPING are READ, or READ and WRITE"));
    }
    Ok(Setup {
        nodeid,
        fh: (fh != NO_FH).then_some(fh),
        file_offset: FileOffset(u64::from_le_bytes(*file_offset)),
        window_offset: WindowOffset(u64::from_le_bytes(*window_offset)),
        length: u64::from_le_bytes(*length),
        writable: flags & FLAG_WRITE != 0,
    })
}

/// `struct fuse_removemapping_in`, and after it the `struct fuse_removemapping_one`s, which are not aligned.
fn removal(body: &[u8]) -> Result<Removal, Malformed> {
    let (count, entries) = body.split_first_chunk().ok_or(Malformed("the body of a REMOVEMAPPING has no count"))?;
    let count = u32::from_le_bytes(*count);
    if count == 0 || count > MOST_REMOVALS {
        return Err(Malformed("the count of a REMOVEMAPPING is 1 to 4096"));
    }
    let (words, odd_bytes) = entries.as_chunks();
    let (pairs, odd_word) = words.as_chunks();
    if !odd_bytes.is_empty() || !odd_word.is_empty() || u32::try_from(pairs.len()) != Ok(count) {
        return Err(Malformed("a REMOVEMAPPING has as many entries as it says"));
    }
    let entry =
        |[offset, length]: &[[u8; 8]; 2]| (WindowOffset(u64::from_le_bytes(*offset)), u64::from_le_bytes(*length));
    let entries: Vec<_> = pairs.iter().map(entry).collect();
    if !entries.iter().any(|(_, length)| *length == WHOLE_WINDOW) {
        Ok(Removal::Of(entries))
    } else if entries.len() == 1 {
        Ok(Removal::OfEverything)
    } else {
        Err(Malformed("the whole window is removed by an entry alone"))
    }
}
