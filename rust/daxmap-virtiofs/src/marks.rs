//! What is changed in replies of `fuse-backend-rs`: `FUSE_ATTR_DAX` where it takes no flags, and what INIT says of pages.

use crate::opcodes::{CREATE, GETATTR, SETATTR};
use daxmap_core::fuse::{Init, Policy};

/// Where `struct fuse_attr` has these, in bytes.
const SIZE: usize = 8;
const MODE: usize = 60;
const FLAGS: usize = 84;
const ATTR: usize = 88;

/// Where a reply to INIT has its flags.
const INIT_FLAGS: usize = 16 + 12;
/// The guest drops the pages of a file that has changed, whole.
const AUTO_INVAL_DATA: u32 = 1 << 12;
/// The guest drops those alone that have been cut off.
const EXPLICIT_INVAL_DATA: u32 = 1 << 25;

/// Where a reply has a `struct fuse_attr` that was made without flags.
fn attr_of(opcode: u32) -> Option<usize> {
    match opcode {
        GETATTR | SETATTR => Some(16 + 16), // after the headers, and the time that it is valid
        CREATE => Some(16 + 40),            // the last of struct fuse_entry_out
        _ => None,
    }
}

/// Marks the file of a reply, if there is one and the guest is to map it.
pub(crate) fn mark(opcode: u32, reply: &mut [u8], policy: Policy) {
    let Some(attr) = attr_of(opcode).and_then(|at| reply.get_mut(at..at.checked_add(ATTR)?)) else { return };
    let word =
        |attr: &[u8], at: usize| attr.get(at..).and_then(<[u8]>::first_chunk).map(|word| u32::from_le_bytes(*word));
    let size = attr.get(SIZE..).and_then(<[u8]>::first_chunk).map(|size| u64::from_le_bytes(*size));
    if let (Some(mode), Some(size)) = (word(attr, MODE), size)
        && let Some(flags) = attr.get_mut(FLAGS..)
    {
        flags.copy_from_slice(&policy.attr_flags(mode, size).to_le_bytes());
    }
}

/// Tells a guest that has no pages of its own, in the reply to its INIT, to drop none where a file has changed.
pub(crate) fn mark_without_pages(init: &Init, reply: &mut [u8]) {
    if init.flags & u64::from(EXPLICIT_INVAL_DATA) != 0
        && let Some(flags) = reply.get_mut(INIT_FLAGS..).and_then(<[u8]>::first_chunk_mut)
    {
        *flags = (u32::from_le_bytes(*flags) & !AUTO_INVAL_DATA | EXPLICIT_INVAL_DATA).to_le_bytes();
    }
}
