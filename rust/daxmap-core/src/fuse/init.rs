//! INIT: what a guest offers, and what of that a device with a DAX window takes.

use super::reply::{OutHeader, Reply};
use std::fmt;

/// The one major version that there is (`FUSE_KERNEL_VERSION`).
const MAJOR: u32 = 7;

/// The guest has a DAX window, and the reply tells to which power of two its mappings are aligned.
const MAP_ALIGNMENT: u64 = 1 << 26;
/// The flags from 32 on are there.
const INIT_EXT: u64 = 1 << 30;
/// The guest maps the files whose attributes have `FUSE_ATTR_DAX`.
const HAS_INODE_DAX: u64 = 1 << 33;

/// What is needed of a `struct fuse_init_in`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Init {
    /// The guest's major version.
    pub major: u32,
    /// All 64 flags: `flags`, and `flags2` above them if the guest has sent it.
    pub flags: u64,
}

/// What DAX a guest was offered in the reply to its INIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// To map files.
    Made,
    /// None: the guest sees no window, or was mounted not to use it.
    NotWanted,
    /// None: the reply ends before `map_alignment`, as those of FUSE before 7.23 do.
    TooShort {
        /// Length of the reply's body in bytes.
        body: usize,
    },
}

/// The fields of a `struct fuse_init_out` that concern DAX.
struct InitOut<'a> {
    flags: &'a mut [u8; 4],
    map_alignment: &'a mut [u8; 2],
    flags2: Option<&'a mut [u8; 4]>,
}

impl<'a> InitOut<'a> {
    /// Those of a body; none if it ends before `map_alignment`.
    fn of(body: &'a mut [u8]) -> Option<Self> {
        let (_up_to_max_readahead, rest) = body.split_first_chunk_mut::<12>()?;
        let (flags, rest) = rest.split_first_chunk_mut()?;
        let (_up_to_max_pages, rest) = rest.split_first_chunk_mut::<14>()?;
        let (map_alignment, rest) = rest.split_first_chunk_mut()?;
        Some(Self { flags, map_alignment, flags2: rest.first_chunk_mut() })
    }
}

impl Init {
    /// Reads the body of an INIT of any age; none if it is shorter than the shortest.
    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let (major, rest) = body.split_first_chunk()?;
        let (_minor_and_max_readahead, rest) = rest.split_first_chunk::<8>()?;
        let (flags, rest) = rest.split_first_chunk()?;
        Some(Self { major: u32::from_le_bytes(*major), flags: all_flags(*flags, rest.first_chunk().copied()) })
    }

    /// Whether the guest maps each regular file that it uses, as Linux does where it is mounted with `-o dax`: then it wants a
    /// window, but no marks of files (`fuse_new_init` and `fuse_should_enable_dax` in fs/fuse).
    #[must_use]
    pub fn maps_all_files(&self) -> bool {
        self.flags & (MAP_ALIGNMENT | HAS_INODE_DAX) == MAP_ALIGNMENT
    }
}

/// Puts the DAX part into a device's own reply to `init`, given whole, header included: `map_alignment` for a host with
/// pages of `page_size` bytes, and the DAX flags that the guest offered. The rest of the reply stays as it is.
///
/// None if the reply settles nothing: it is an error, or the guest is going to ask again for version 7.
pub fn negotiate(init: &Init, page_size: u64, reply: &mut [u8]) -> Option<Offer> {
    if OutHeader::parse(reply)?.error != 0 || init.major != MAJOR {
        return None;
    }
    if init.flags & MAP_ALIGNMENT == 0 {
        return Some(Offer::NotWanted);
    }
    let (_header, body) = reply.split_first_chunk_mut::<{ size_of::<Reply>() }>()?;
    let length = body.len();
    let Some(out) = InitOut::of(body) else { return Some(Offer::TooShort { body: length }) };
    let mut offered = all_flags(*out.flags, out.flags2.as_deref().copied()) | MAP_ALIGNMENT;
    if let Some(flags2) = out.flags2.filter(|_| init.flags & HAS_INODE_DAX != 0) {
        offered |= INIT_EXT | HAS_INODE_DAX;
        flags2.copy_from_slice(&offered.to_le_bytes()[4..]);
    }
    out.flags.copy_from_slice(&offered.to_le_bytes()[..4]);
    out.map_alignment.copy_from_slice(&page_size.trailing_zeros().to_le_bytes()[..2]);
    Some(Offer::Made)
}

/// All 64 flags of a structure whose upper half counts only with `FUSE_INIT_EXT`.
fn all_flags(flags: [u8; 4], flags2: Option<[u8; 4]>) -> u64 {
    let [lower, upper] = [flags, flags2.unwrap_or_default()].map(|half| u64::from(u32::from_le_bytes(half)));
    if lower & INIT_EXT == 0 { lower } else { lower | upper << 32 }
}

impl fmt::Display for Offer {
    /// What is offered, or why not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Made => f.write_str("the guest may map files"),
            Self::NotWanted => f.write_str("the guest's INIT has no FUSE_MAP_ALIGNMENT"),
            Self::TooShort { body } => write!(f, "the VMM's reply to INIT, of {body} bytes, has no map_alignment"),
        }
    }
}
