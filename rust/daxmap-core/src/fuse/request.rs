//! Requests as values, and every check that needs nothing but the request.

use super::errno::GuestErrno;
use super::init::Init;
use crate::addr::{FileOffset, WindowOffset};
use crate::mapper::MapRequest;
use crate::sys::Errno;
use std::fmt;

/// Size of `struct fuse_in_header` in bytes.
pub const HEADER_SIZE: usize = 40;
/// The longest body of a request that is answered here, in bytes: a REMOVEMAPPING with 4,096 entries.
pub const LONGEST_BODY: usize = 4 + 16 * MOST_REMOVALS as usize;

/// Entries of one REMOVEMAPPING: a guest page full of them, and the largest pages are of 64 KiB
/// (`FUSE_REMOVEMAPPING_MAX_ENTRY`).
const MOST_REMOVALS: u32 = 4096;
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

/// What a guest asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// SETUPMAPPING: to show a range of a file in a range of the window, whatever is shown there now.
    Setup {
        /// The file's inode, as the guest numbers it.
        nodeid: u64,
        /// The handle of the open file, or none: a Linux guest sends none.
        fh: Option<u64>,
        /// Both ranges.
        range: MapRequest,
    },
    /// REMOVEMAPPING: to show nothing in these ranges, given by window offset and length in bytes.
    Remove(Vec<(WindowOffset, u64)>),
    /// REMOVEMAPPING: to show nothing at all.
    RemoveAll,
    /// INIT: the guest starts. It knows nothing of what is mapped.
    Init(Init),
    /// DESTROY: the guest leaves, and has forgotten what is mapped.
    Destroy,
    /// Something that does not concern DAX; or a malformed INIT or DESTROY, which is refused where these are replied to.
    Other,
}

/// What is wrong with a request that breaks the format: the rule that it breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(&'static str);

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

    /// Whether the request may be anything but [`Request::Other`].
    #[must_use]
    pub fn concerns_dax(&self) -> bool {
        matches!(self.opcode, INIT | DESTROY | SETUPMAPPING | REMOVEMAPPING)
    }

    /// What the guest asks for, by number: a `FUSE_` constant.
    #[must_use]
    pub fn opcode(&self) -> u32 {
        self.opcode
    }

    /// The inode that the request is about.
    #[must_use]
    pub fn nodeid(&self) -> u64 {
        self.nodeid
    }

    /// The number by which the guest knows the reply.
    #[must_use]
    pub fn unique(&self) -> u64 {
        self.unique
    }

    /// Whether the request is a SETUPMAPPING, well-formed or not.
    #[must_use]
    pub fn is_setup(&self) -> bool {
        self.opcode == SETUPMAPPING
    }

    /// What the guest is told of `errno`, an errno of this host, in the reply to this request.
    #[must_use]
    pub fn guest_errno(&self, errno: Errno) -> GuestErrno {
        GuestErrno::new(errno, self.is_setup())
    }

    /// Holds the header to the message that it is of, which has `length` bytes.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn check(&self, length: usize) -> Result<(), Malformed> {
        if usize::try_from(self.length) != Ok(length) {
            return Err(Malformed("header.len is the length of the message"));
        }
        if self.extensions != 0 {
            return Err(Malformed("it has no extensions: none were offered"));
        }
        Ok(())
    }
}

/// Decodes the request whose header is `header` and whose other bytes are `body`.
///
/// # Errors
/// [`Malformed`] for a SETUPMAPPING or REMOVEMAPPING that breaks the format: the guest is told EINVAL.
///
/// # Examples
/// ```
/// use daxmap_core::fuse::{Header, Request, decode, reply};
///
/// let mut message = Vec::new();
/// for word in [80_u32, 48] {
///     message.extend(word.to_le_bytes()); // len, opcode: SETUPMAPPING
/// }
/// for word in [7_u64, 2, 0, 0] {
///     message.extend(word.to_le_bytes()); // unique, nodeid, uid and gid, pid and total_extlen
/// }
/// for word in [u64::MAX, 0, 2 << 20, 2, 4 << 20] {
///     message.extend(word.to_le_bytes()); // fh: none, foffset, len, flags: READ, moffset
/// }
/// let (header, body) = Header::parse(&message).unwrap();
/// let Ok(Request::Setup { nodeid, fh, range }) = decode(&header, body) else { panic!() };
/// assert_eq!((nodeid, fh, range.window_offset.0, range.writable), (2, None, 4 << 20, false));
/// assert_eq!(reply(header.unique(), Ok(()))[8], 7);
/// ```
pub fn decode(header: &Header, body: &[u8]) -> Result<Request, Malformed> {
    let checked = header.check(body.len().saturating_add(HEADER_SIZE));
    match header.opcode {
        SETUPMAPPING => checked.and_then(|()| setup(header.nodeid, body)),
        REMOVEMAPPING => checked.and_then(|()| removal(body)),
        INIT if checked.is_ok() => Ok(Init::decode(body).map_or(Request::Other, Request::Init)),
        DESTROY if checked.is_ok() && body.is_empty() => Ok(Request::Destroy),
        _ => Ok(Request::Other),
    }
}

/// `struct fuse_setupmapping_in`.
fn setup(nodeid: u64, body: &[u8]) -> Result<Request, Malformed> {
    let ([fh, file_offset, length, flags, window_offset], []) = body.as_chunks() else {
        return Err(Malformed("the body of a SETUPMAPPING has 40 bytes"));
    };
    let fh = u64::from_le_bytes(*fh);
    let flags = u64::from_le_bytes(*flags);
    if flags != FLAG_READ && flags != FLAG_READ | FLAG_WRITE {
        return Err(Malformed("the flags of a SETUPMAPPING are READ, or READ and WRITE"));
    }
    Ok(Request::Setup {
        nodeid,
        fh: (fh != NO_FH).then_some(fh),
        range: MapRequest {
            file_offset: FileOffset(u64::from_le_bytes(*file_offset)),
            window_offset: WindowOffset(u64::from_le_bytes(*window_offset)),
            length: u64::from_le_bytes(*length),
            writable: flags & FLAG_WRITE != 0,
        },
    })
}

/// `struct fuse_removemapping_in`, and after it the `struct fuse_removemapping_one`s, which are not aligned.
fn removal(body: &[u8]) -> Result<Request, Malformed> {
    let (count, entries) =
        body.split_first_chunk().ok_or(Malformed("the body of a REMOVEMAPPING starts with a count"))?;
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
        Ok(Request::Remove(entries))
    } else if entries.len() == 1 {
        Ok(Request::RemoveAll)
    } else {
        Err(Malformed("the whole window is removed by an entry alone"))
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it breaks the rule that {}", self.0)
    }
}

impl std::error::Error for Malformed {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::check;

    #[test]
    fn a_removal_is_its_model() {
        check("removal_has_its_entries", |[count, length]| {
            let mut body = u32::try_from(count).unwrap().to_le_bytes().to_vec();
            body.resize(usize::try_from(length).unwrap(), 0);
            [u64::from(removal(&body).is_ok())]
        });
    }
}
