//! The DAX part of FUSE over virtiofs: what a guest's bytes say, and the bytes that it is told.
//!
//! Data flows one way: bytes → [`Header::parse`] → [`decode`] → a [`Request`], and, once that was done or not, [`reply`]
//! → bytes. Nothing here opens a file or calls a mapper, so all of it is tested with any bytes.
//!
//! The formats are those of the kernel's `include/uapi/linux/fuse.h`, little endian, as virtiofs has them (VIRTIO 1.2,
//! section 5.11.6), from FUSE 7.31 on.

mod errno;
mod init;
mod outcomes;
mod policy;
mod reply;
mod request;
mod session;

pub use errno::GuestErrno;
pub use init::{Init, Offer, negotiate};
pub use outcomes::Outcomes;
pub use policy::Policy;
pub use reply::{BadReply, Reply, reply, verify};
pub use request::{HEADER_SIZE, Header, LONGEST_BODY, Malformed, Request, decode};
pub use session::Session;
