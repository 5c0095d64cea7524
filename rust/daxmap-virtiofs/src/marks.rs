//! `FUSE_ATTR_DAX` in the replies for which `fuse-backend-rs` takes no flags.

use crate::opcodes::{CREATE, GETATTR, SETATTR};
use daxmap_core::fuse::Policy;

/// Where `struct fuse_attr` has these, in bytes.
const SIZE: usize = 8;
const MODE: usize = 60;
const FLAGS: usize = 84;
const ATTR: usize = 88;

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
