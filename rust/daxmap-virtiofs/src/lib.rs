//! A virtiofs file server with DAX, from bytes to bytes.
#![cfg(target_os = "linux")]
#![deny(unsafe_code)]

mod options;
mod server;
mod sys;

pub use options::{Cache, Options, Owner};
pub use server::FileServer;
pub use sys::guest::{GuestSlice, copy_in, copy_out, total, window};
