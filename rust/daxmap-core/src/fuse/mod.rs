//! The DAX part of FUSE over virtiofs: whole requests in, whole replies out.
//!
//! Requests flow one way: bytes → [`Header::parse`] → [`Dispatcher::answer`] (decode, then refuse or pass on) →
//! [`Target`] (whoever opens files and owns the mapper). Nothing here touches a file, so that the decoder is tested
//! with any bytes.
//!
//! The formats are those of the kernel's `include/uapi/linux/fuse.h`, little endian, as virtiofs has them (VIRTIO 1.2,
//! section 5.11.6), from FUSE 7.31 on.

mod apply;
mod dispatcher;
mod errno;
mod request;

pub use dispatcher::{Counts, Dispatcher, Reply, Target, Undone};
pub use errno::to_linux;
pub use request::{HEADER_SIZE, Header, LONGEST_BODY, Removal, Setup};
