//! What has to be known of a request before the file server sees it.

use crate::window::Files;
use daxmap_virtiofs::{GuestSlice, copy_out};

/// How much of a request is looked at: the header, and where `COPY_FILE_RANGE` names a second inode.
const LOOKED_AT: usize = 64;
/// The header of a request (FUSE, `struct fuse_in_header`), and where in it opcode and nodeid lie.
const HEADER: usize = 40;
const OPCODE: usize = 4;
const NODEID: usize = 16;
/// `nodeid_out` of `struct fuse_copy_file_range_in`.
const SECOND_NODEID: usize = 56;

/// Opcodes of FUSE that concern the window or its copies.
mod opcode {
    pub(super) const LOOKUP: u32 = 1;
    pub(super) const FORGET: u32 = 2;
    pub(super) const INIT: u32 = 26;
    pub(super) const INTERRUPT: u32 = 36;
    pub(super) const DESTROY: u32 = 38;
    pub(super) const BATCH_FORGET: u32 = 42;
    pub(super) const READDIRPLUS: u32 = 44;
    pub(super) const COPY_FILE_RANGE: u32 = 47;
    pub(super) const SETUPMAPPING: u32 = 48;
    pub(super) const REMOVEMAPPING: u32 = 49;
    pub(super) const SYNCFS: u32 = 50;
    pub(super) const COPY_FILE_RANGE_64: u32 = 53;
}

/// What kind of request it is. The guest may have changed it by the time it is answered: that would be its own loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The first of a guest, or of one that boots again.
    Init,
    /// Changes the window, which takes an answer of the front end's.
    Window,
    /// Looks up a name: its reply tells of an inode.
    Lookup,
    /// Concerns these files, the second of them perhaps.
    Files(Files, Option<Files>),
    /// Concerns none.
    None,
}

/// The start of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) kind: Kind,
    /// The inode that it names.
    pub(crate) inode: u64,
}

impl Head {
    pub(crate) fn of(request: &[GuestSlice<'_>]) -> Self {
        let mut bytes = [0; LOOKED_AT];
        let length = copy_out(request, &mut bytes);
        Self::parse(bytes.get(..length).unwrap_or_default())
    }

    /// Whether the front end may be waited for. To answer such a request twice comes to the same as once.
    pub(crate) fn concerns_window(&self) -> bool {
        matches!(self.kind, Kind::Init | Kind::Window)
    }

    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let (Some(number), Some(inode), true) = (u32_at(bytes, OPCODE), u64_at(bytes, NODEID), bytes.len() >= HEADER)
        else {
            return Self { kind: Kind::None, inode: 0 };
        };
        let kind = match number {
            opcode::INIT => Kind::Init,
            opcode::SETUPMAPPING | opcode::REMOVEMAPPING | opcode::DESTROY => Kind::Window,
            opcode::LOOKUP => Kind::Lookup,
            opcode::FORGET | opcode::BATCH_FORGET | opcode::INTERRUPT => Kind::None,
            opcode::READDIRPLUS | opcode::SYNCFS => Kind::Files(Files::All, None),
            opcode::COPY_FILE_RANGE | opcode::COPY_FILE_RANGE_64 => {
                Kind::Files(Files::Inode(inode), u64_at(bytes, SECOND_NODEID).map(Files::Inode))
            }
            _ => Kind::Files(Files::Inode(inode), None),
        };
        Self { kind, inode }
    }
}

/// The inode that a reply to LOOKUP tells of (`struct fuse_entry_out`), once it is written to the guest's memory.
pub(crate) fn looked_up(reply: &[GuestSlice<'_>]) -> Option<u64> {
    const INODE: usize = 16;
    let mut bytes = [0; 24];
    (copy_out(reply, &mut bytes) == bytes.len()).then(|| u64_at(&bytes, INODE)).flatten()
}

/// A request of a guest that ends its session, for one that did not.
pub(crate) fn destroy() -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    let header = (HEADER as u64) | u64::from(opcode::DESTROY) << 32; // len and opcode, one after the other
    if let Some(start) = bytes.first_chunk_mut() {
        *start = header.to_le_bytes();
    }
    bytes
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|chunk| u32::from_le_bytes(*chunk))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|chunk| u64::from_le_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(opcode: u32, inode: u64, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        bytes[4..8].copy_from_slice(&opcode.to_le_bytes());
        bytes[16..24].copy_from_slice(&inode.to_le_bytes());
        bytes.extend(body);
        bytes
    }

    #[test]
    fn requests_are_told_apart() {
        let kind = |bytes: &[u8]| Head::parse(bytes).kind;
        assert_eq!(kind(&request(26, 0, &[])), Kind::Init);
        assert_eq!(kind(&request(48, 3, &[])), Kind::Window);
        assert_eq!(Head::parse(&request(48, 3, &[])).inode, 3);
        assert_eq!(kind(&destroy()), Kind::Window);
        assert_eq!(kind(&request(15, 7, &[])), Kind::Files(Files::Inode(7), None));
        let mut body = [0; 24];
        body[16] = 9;
        assert_eq!(kind(&request(47, 7, &body)), Kind::Files(Files::Inode(7), Some(Files::Inode(9))));
        assert_eq!(kind(&request(47, 7, &body[..20])), Kind::Files(Files::Inode(7), None));
        for of_all in [44, 50] {
            assert_eq!(kind(&request(of_all, 7, &[])), Kind::Files(Files::All, None), "{of_all}");
        }
        for of_none in [2, 36, 42] {
            assert_eq!(kind(&request(of_none, 7, &[])), Kind::None, "{of_none}");
        }
        assert_eq!(kind(&request(48, 3, &[])[..39]), Kind::None);
    }

    /// CREATE, WRITE at the end of a file or UNLINK do something else the second time.
    #[test]
    fn only_what_concerns_the_window_may_be_answered_twice() {
        let may_be: Vec<_> =
            (0..60).filter(|opcode| Head::parse(&request(*opcode, 1, &[])).concerns_window()).collect();
        assert_eq!(may_be, [26, 38, 48, 49]);
    }
}
