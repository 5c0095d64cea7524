//! Replies as bytes: those made here, and the rules that every reply is held to.

use super::errno::GuestErrno;
use std::fmt;

/// A whole reply that is a header alone: `struct fuse_out_header`.
pub type Reply = [u8; REPLY_SIZE as usize];

const REPLY_SIZE: u32 = 16;
/// Errors that a guest believes are over this: the errnos from -512 on are Linux's own affair.
const LOWEST_ERROR: i32 = -511;

/// What is wrong with a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadReply(&'static str);

/// `struct fuse_out_header`.
#[derive(Clone, Copy, Debug)]
pub(super) struct OutHeader {
    length: u32,
    pub(super) error: i32,
    unique: u64,
}

/// The reply that tells the guest what became of its request number `unique`.
#[must_use]
pub fn reply(unique: u64, result: Result<(), GuestErrno>) -> Reply {
    let error = result.map_or_else(|errno| errno.number().wrapping_neg(), |()| 0);
    let mut reply = Reply::default();
    reply[..4].copy_from_slice(&REPLY_SIZE.to_le_bytes());
    reply[4..8].copy_from_slice(&error.to_le_bytes());
    reply[8..].copy_from_slice(&unique.to_le_bytes());
    reply
}

/// Holds a whole reply to the rules of Linux 7.1 and later (`virtio_fs_verify_response` in `fs/fuse/virtio_fs.c`), which
/// takes one that breaks them for EIO: the header tells the reply's length, and the number of the request, `unique`; the
/// error is in (-512, 0]; and with an error there is no body.
///
/// # Errors
/// The rule that it breaks.
pub fn verify(unique: u64, reply: &[u8]) -> Result<(), BadReply> {
    let header = OutHeader::parse(reply).ok_or(BadReply("a reply has 16 bytes or more"))?;
    let rules = [
        (usize::try_from(header.length) == Ok(reply.len()), "header.len is the reply's length"),
        (header.unique == unique, "header.unique is the request's"),
        ((LOWEST_ERROR..=0).contains(&header.error), "header.error is in (-512, 0]"),
        (header.error == 0 || header.length == REPLY_SIZE, "a reply with an error has 16 bytes"),
    ];
    rules.iter().find(|(is_kept, _)| !is_kept).map_or(Ok(()), |(_, rule)| Err(BadReply(rule)))
}

impl OutHeader {
    /// The header at the start of a reply; none if that is too short for one.
    pub(super) fn parse(reply: &[u8]) -> Option<Self> {
        let (length, rest) = reply.split_first_chunk()?;
        let (error, rest) = rest.split_first_chunk()?;
        let unique = rest.first_chunk()?;
        Some(Self {
            length: u32::from_le_bytes(*length),
            error: i32::from_le_bytes(*error),
            unique: u64::from_le_bytes(*unique),
        })
    }
}

impl fmt::Display for BadReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it breaks the rule that {}", self.0)
    }
}

impl std::error::Error for BadReply {}
