//! A virtiofs file server with DAX: whatever a guest asks of a directory, from bytes to bytes.
//!
//! Data flows one way: a request in a guest's memory → [`FileServer`] → `fuse-backend-rs`, which decodes it → the share,
//! which does it → a reply in the guest's memory. READ and WRITE go from the guest's memory to the file and back without a
//! copy in between, and SETUPMAPPING and REMOVEMAPPING to the mapper of `daxmap-core`.
#![cfg(target_os = "linux")]
#![deny(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::arithmetic_side_effects, missing_docs))]

mod frame;
mod marks;
mod opcodes;
mod options;
mod recent;
mod server;
mod share;
mod sys;

pub use options::{Cache, Options, Owner};
pub use server::FileServer;
pub use sys::guest::{GuestSlice, copy_in, copy_out, total, window};
